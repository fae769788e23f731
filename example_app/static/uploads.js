// What <filestore-upload> has brought to the server becomes documents.

import { Unreachable } from "./requests.js";

const RETRY_MS = 3000;

// Calls `take` with the references as soon as there are some: each by itself, or all of them together. It resolves with
// the error if there is one.
export function whenUploaded(form, isTogether, take) {
  const element = form.querySelector("filestore-upload");
  const taken = new Set();

  async function takeNew() {
    // Valid is: nothing goes up, and nothing has failed.
    if (isTogether() && !element.checkValidity()) return;
    const references = [element.value].flat().filter((each) => each && !taken.has(each));
    references.forEach((each) => taken.add(each));
    const error = references.length ? await take(references) : null;
    if (!error && element.checkValidity()) form.reset();
    if (error) references.forEach((each) => taken.delete(each));
    // The connection may break after the last byte: what is on the server is not sent again.
    if (error instanceof Unreachable) setTimeout(takeNew, RETRY_MS);
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  element.addEventListener("change", takeNew);
  return element;
}

// The element takes what is dropped or pasted on it. Let the whole page do so: what misses a frame must not be opened.
export function takeFromPage(element) {
  const carriesFiles = (data) => data?.types.includes("Files");
  const isBusy = () => document.querySelector("dialog[open]");
  addEventListener("dragover", (event) => {
    if (!carriesFiles(event.dataTransfer)) return;
    event.preventDefault();
    if (!isBusy()) document.body.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    document.body.classList.remove("over");
    if (event.defaultPrevented || !carriesFiles(event.dataTransfer)) return;
    event.preventDefault();
    if (!isBusy()) element.dispatchEvent(new DragEvent("drop", { dataTransfer: event.dataTransfer, cancelable: true }));
  });
  addEventListener("paste", (event) => {
    if (event.composedPath().includes(element) || !carriesFiles(event.clipboardData) || isBusy()) return;
    element.dispatchEvent(new ClipboardEvent("paste", { clipboardData: event.clipboardData }));
  });
}
