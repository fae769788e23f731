// Shows a file by its type. The server has the last word: it sends nothing inline that could run a script.
import { extension } from "./words.js";

const TEXT_BYTES = 64 * 1024;

const make = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

const isText = (type) => /^text\/(?!html|xml)|^application\/(json|yaml|toml|x-ndjson)/.test(type);

// The beginning of a text: nobody scrolls through a gigabyte, and a range costs the server only what it sends.
async function showText(pre, url) {
  try {
    const answer = await fetch(url, { headers: { Range: `bytes=0-${TEXT_BYTES - 1}` } });
    // An empty file has no range to send.
    if (!answer.ok && answer.status !== 416) throw new Error(answer.statusText);
    const bytes = answer.status === 416 ? new ArrayBuffer(0) : await answer.arrayBuffer();
    const isWhole = answer.status !== 206 || answer.headers.get("Content-Range").endsWith(`/${bytes.byteLength}`);
    pre.textContent = (new TextDecoder().decode(bytes) || "This file is empty.") + (isWhole ? "" : "\n[...]");
  } catch {
    pre.textContent = "The text could not be loaded.";
  }
}

export function preview({ url, type, name }) {
  if (/^image\/(png|jpeg|gif|webp|avif)$/.test(type)) return make("img", { src: url, alt: name });
  // Browsers ask for ranges, so the film can be shown from any moment before all of it has come.
  if (type.startsWith("video/")) return make("video", { src: url, controls: true, preload: "metadata", ariaLabel: name });
  if (type.startsWith("audio/")) return make("audio", { src: url, controls: true, preload: "metadata", ariaLabel: name });
  if (type === "application/pdf") return make("iframe", { src: url, title: name });
  if (isText(type)) {
    // Only what can have the focus can be scrolled with the keyboard.
    const pre = make("pre", { tabIndex: 0, role: "region", ariaLabel: `Text of ${name}`, textContent: "..." });
    showText(pre, url);
    return pre;
  }
  return make("div", { className: "no-preview" }, badge(name), make("p", {}, "There is no preview of this type."));
}

// A small picture for a list.
export function thumb({ url, type, name, size }) {
  if (/^image\/(png|jpeg|gif|webp|avif)$/.test(type) && size < 10_000_000)
    return make("img", { src: url, alt: "", loading: "lazy", decoding: "async" });
  // The first moment of a film; its fragment is not sent, and the browser fetches no more than it needs for that.
  if (type.startsWith("video/")) return make("video", { src: `${url}#t=0.1`, preload: "metadata", muted: true, ariaHidden: "true" });
  return badge(name);
}

// Colours tell kinds apart; the letters say the same.
const KINDS = [["film", /mp4|webm|mov|mkv/], ["sound", /mp3|wav|ogg|flac|m4a/], ["pdf", /pdf/], ["table", /csv|xlsx?|ods/],
  ["picture", /png|jpe?g|gif|webp|avif|svg|heic/], ["archive", /zip|gz|7z|tar|xz/]];

function badge(name) {
  const letters = extension(name);
  const kind = KINDS.find(([, pattern]) => pattern.test(letters))?.[0] ?? "other";
  return make("span", { className: `badge ${kind}`, textContent: letters, ariaHidden: "true" });
}
