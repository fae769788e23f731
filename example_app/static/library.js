// The list of documents, and all that can be done to them.
// Names of files come from strangers: they reach the page as text (textContent) only, never as markup.
import { thumb } from "./preview.js";
import { ask, documentPath, filePath, send, sendForm, shown } from "./requests.js";
import { takeFromPage, whenUploaded } from "./uploads.js";
import { viewer } from "./viewer.js";
import { shortTime, sizeText, wholeTime } from "./words.js";

const PAGE_SIZE = 48;
const TOAST_MS = 20_000;

const find = (id) => document.getElementById(id);
const list = find("documents");
const isTrash = list.dataset.trash === "true";
const items = new Map();
let total = 0;

// -- the list

function card(item) {
  const row = find("card").content.firstElementChild.cloneNode(true);
  const part = (selector) => row.querySelector(selector);
  row.dataset.id = item.id;
  part(".name").textContent = item.title;
  if (item.files.length && !isTrash) part(".thumb").append(thumb(shown(item, 0)));
  part(".count").textContent = item.files.length === 1 ? "" : `${item.files.length} files`;
  part(".size").textContent = sizeText(item.files.reduce((sum, file) => sum + file.size, 0));
  const time = new Date(isTrash ? item.deleted_at : item.created_at);
  Object.assign(part("time"), { dateTime: time.toISOString(), textContent: shortTime(time), title: wholeTime(time) });
  const label = (selector, title) => {
    const control = part(selector);
    if (control) Object.assign(control, { title, ariaLabel: `${title} ${item.title}` });
  };
  if (isTrash) part(".open").disabled = true;
  else if (item.files.length) part("[data-link]").href = filePath(item, 0, "downloads");
  else part("[data-link]").remove();
  label("[data-link]", "Download");
  label("[data-act=share]", "Share");
  label("[data-act=remove]", "Delete");
  label("[data-act=restore]", "Restore");
  label("[data-act=destroy]", "Delete for ever:");
  return row;
}

const rowOf = (item) => list.querySelector(`[data-id="${CSS.escape(item.id)}"]`);

function put(item, where = "prepend") {
  const old = rowOf(item);
  items.set(item.id, item);
  if (old) old.replaceWith(card(item));
  else {
    list[where](card(item));
    total += where === "prepend";
  }
  showCount();
  if (viewer.item?.id === item.id && find("viewer").open) viewer.open(item, viewer.place);
}

function drop(item) {
  const row = rowOf(item);
  const next = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  items.delete(item.id);
  total -= 1;
  showCount();
  // The focus needs a place when what had it is gone.
  (next?.querySelector("button:enabled") ?? find("top")).focus();
}

function showCount() {
  find("empty").hidden = total > 0;
  find("more").hidden = list.childElementCount >= total;
}

async function load() {
  const page = await ask(`/documents?deleted=${isTrash}&limit=${PAGE_SIZE}&offset=${list.childElementCount}`);
  total = page.total;
  for (const item of page.items) if (!items.has(item.id)) put(item, "append");
  showCount();
}

// -- words

// What is behind a dialog is neither seen nor heard: words come to the front.
const front = () => [...document.querySelectorAll("dialog[open]")].at(-1);

function complain(error) {
  if (front()) front().append(find("alert"));
  else list.before(find("alert"));
  find("alert").textContent = error.message;
  find("alert").hidden = false;
}

let toastTimer;
function tell(text, undo) {
  (front() ?? document.body).append(find("toast"));
  find("toast").firstElementChild.textContent = text;
  find("toast").hidden = false;
  find("undo").hidden = !undo;
  find("undo").onclick = () => attempt(undo);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { find("toast").hidden = true; }, TOAST_MS);
}

// Resolves with the error, if there is one.
async function attempt(work) {
  find("alert").hidden = true;
  try {
    await work();
    return null;
  } catch (error) {
    complain(error);
    return error;
  }
}

// -- what can be done

const acts = {
  open: (item) => show(item),
  share: (item) => openShare(item),
  replace: (item) => openChange("Replace the file", false, ([file]) =>
    sendForm("PUT", filePath(item, viewer.place), { file })),
  add: (item) => openChange("Add files", true, (files) => sendForm("POST", `${documentPath(item)}/files`, { files })),
  async takeOut(item) {
    put(await ask(filePath(item, viewer.place), { method: "DELETE" }));
  },
  async remove(item) {
    await ask(documentPath(item), { method: "DELETE" });
    viewer.close();
    drop(item);
    tell(`${item.title} is in the trash`, async () => {
      put(await ask(`${documentPath(item)}/restore`, { method: "POST" }));
      tell(`${item.title} is back`);
      rowOf(item).querySelector(".open").focus();
    });
  },
  async restore(item) {
    await ask(`${documentPath(item)}/restore`, { method: "POST" });
    drop(item);
    tell(`${item.title} is back in the library`);
  },
  async destroy(item) {
    await ask(`${documentPath(item)}?forever=true`, { method: "DELETE" });
    drop(item);
    tell(`${item.title} is deleted`);
  },
};

for (const place of [list, find("viewer")])
  place.addEventListener("click", ({ target }) => {
    const act = acts[target.closest("[data-act]")?.dataset.act];
    const item = place === list ? items.get(target.closest("li")?.dataset.id) : viewer.item;
    if (act && item) attempt(() => act(item));
  });

// -- the viewer: its address names the document, so a reload and the button "back" do what people expect

const show = (item) => { location.hash = item.id; };

async function followAddress() {
  const id = location.hash.slice(1);
  if (!id || isTrash) viewer.close();
  else viewer.open(items.get(id) ?? (await ask(`/documents/${encodeURIComponent(id)}`)));
}

addEventListener("hashchange", () => attempt(followAddress));
find("viewer").addEventListener("close", () => {
  history.replaceState(null, "", location.pathname);
  if (viewer.item) rowOf(viewer.item)?.querySelector(".open").focus();
});
viewer.onStep((step) => {
  const row = rowOf(viewer.item);
  const next = step > 0 ? row?.nextElementSibling : row?.previousElementSibling;
  if (!next) return;
  history.replaceState(null, "", `#${next.dataset.id}`);
  viewer.open(items.get(next.dataset.id));
});

// -- dialogs

let change;
function openChange(title, isMultiple, send) {
  change = send;
  find("change-title").textContent = title;
  find("change-form").reset();
  find("change-form").querySelector("filestore-upload").toggleAttribute("multiple", isMultiple);
  find("change").showModal();
}

function openShare(item) {
  find("share").dataset.id = item.id;
  find("link").hidden = true;
  find("share").showModal();
}

find("share-form").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const path = `/documents/${encodeURIComponent(find("share").dataset.id)}/shares`;
    const { url } = await send("POST", path, { seconds: Number(event.target.elements.seconds.value) });
    find("link").hidden = false;
    const field = find("link").firstElementChild;
    field.value = new URL(url, location).href;
    field.select();
  });
});

for (const dialog of [find("share"), find("change")])
  dialog.addEventListener("click", async ({ target }) => {
    const act = target.closest("[data-act]")?.dataset.act;
    if (act === "close") dialog.close();
    if (act !== "copy") return;
    const field = find("link").firstElementChild;
    field.select();
    // Browsers have a clipboard for pages of this machine and of https only; elsewhere the link is selected to be copied.
    await navigator.clipboard?.writeText(field.value);
    tell("The link is copied");
  });

// -- uploads

if (!isTrash) {
  const isTogether = () => find("upload").elements.together.checked;
  const element = whenUploaded(find("upload"), isTogether, (references) => attempt(async () => {
    const documents = isTogether() ? [references] : references;
    for (const files of documents) {
      const item = await sendForm("POST", "/documents", { files });
      put(item);
      tell(`${item.title} is stored`);
    }
  }));
  takeFromPage(element);
  whenUploaded(find("change-form"), () => true, (references) => attempt(async () => {
    put(await change(references));
    find("change").close();
  }));
}

find("more").addEventListener("click", () => attempt(load));
attempt(async () => {
  await load();
  await followAddress();
});
