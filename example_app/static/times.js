// Shows the times of a page in the reader's own zone. Without scripts they stay in UTC, and say so.
import { wholeTime } from "./words.js";

for (const time of document.querySelectorAll("time")) time.textContent = wholeTime(new Date(time.dateTime));
