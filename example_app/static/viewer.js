// The dialog that shows one document. It closes by its button, by Escape and by a swipe down.
import { preview, thumb } from "./preview.js";
import { filePath, shown } from "./requests.js";
import { shortTime, sizeText } from "./words.js";

const SWIPE_PIXELS = 60;

const dialog = document.getElementById("viewer");
const find = (name) => document.getElementById(name);

export const viewer = {
  item: null,
  place: 0,

  open(item, place = 0) {
    viewer.item = item;
    viewer.place = Math.min(place, item.files.length - 1);
    show();
    if (!dialog.open) dialog.showModal();
  },

  close() {
    dialog.close();
  },

  // Calls back with -1 and 1 when somebody wants the document before or after this one.
  onStep(step) {
    dialog.addEventListener("click", ({ target }) => {
      const act = target.closest("[data-act]")?.dataset.act;
      if (act === "close") dialog.close();
      if (act === "previous") step(-1);
      if (act === "next") step(1);
    });
    dialog.addEventListener("keydown", ({ key, target }) => {
      // In a film and in a text, arrows have a meaning already.
      if (target.closest("video, audio, pre")) return;
      if (key === "ArrowLeft") step(-1);
      if (key === "ArrowRight") step(1);
    });
    onSwipe((right, down) => {
      if (down > SWIPE_PIXELS && down > Math.abs(right)) dialog.close();
      else if (Math.abs(right) > SWIPE_PIXELS) step(right < 0 ? 1 : -1);
    });
  },
};

function show() {
  const { item, place } = viewer;
  const file = item.files[place];
  find("viewer-name").textContent = item.title;
  const facts = file ? [file.filename, sizeText(file.size), shortTime(new Date(item.created_at))] : ["No files"];
  find("viewer-facts").textContent = [...new Set(facts)].filter((fact) => fact !== item.title).join(" · ");
  find("stage").replaceChildren(...(file ? [preview(shown(item, place))] : []));
  find("viewer-files").replaceChildren(...item.files.map(tab));
  find("viewer-files").hidden = item.files.length < 2;
  find("viewer-download").hidden = !file;
  if (file) find("viewer-download").href = filePath(item, place, "downloads");
  const action = (act) => dialog.querySelector(`[data-act=${act}]`);
  action("replace").hidden = !file;
  action("takeOut").hidden = item.files.length < 2;
}

function tab(file, place) {
  const button = document.createElement("button");
  button.type = "button";
  button.title = file.filename;
  button.ariaLabel = file.filename;
  button.ariaCurrent = String(place === viewer.place);
  button.append(thumb(shown(viewer.item, place)));
  button.addEventListener("click", () => {
    viewer.place = place;
    show();
    find("viewer-files").children[place].firstElementChild.focus();
  });
  const row = document.createElement("li");
  row.append(button);
  return row;
}

function onSwipe(swiped) {
  let start = null;
  dialog.addEventListener("touchstart", ({ touches, target }) => {
    // Two fingers zoom; and a slider or a text is moved by the same finger.
    start = touches.length === 1 && !target.closest("video, audio, pre, ul") ? touches[0] : null;
  }, { passive: true });
  dialog.addEventListener("touchend", ({ changedTouches: [end] }) => {
    if (start) swiped(end.clientX - start.clientX, end.clientY - start.clientY);
    start = null;
  });
}

// A film that goes on behind a closed dialog would be heard.
dialog.addEventListener("close", () => find("stage").replaceChildren());
