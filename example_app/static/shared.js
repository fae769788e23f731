// The page of somebody who was sent a link.
import { preview } from "./preview.js";
import { wholeTime } from "./words.js";

for (const stage of document.querySelectorAll("[data-preview]")) {
  const { preview: url, type, name } = stage.dataset;
  stage.append(preview({ url, type, name }));
}

const expiry = document.getElementById("expiry");
expiry.textContent = wholeTime(new Date(expiry.dateTime));
// When the link expires, the server says what there is to say. It also says when: the clock here may be wrong.
setTimeout(() => location.reload(), (Number(expiry.dataset.seconds) + 1) * 1000);
