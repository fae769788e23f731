// Requests to this application.

export class Unreachable extends Error {}

export async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Unreachable("The server cannot be reached");
  }
  if (!answer.ok) throw new Error(await explain(answer));
  return answer.status === 204 ? null : answer.json();
}

export const send = (method, path, body) => ask(path, { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });

// A form whose files are references: the bytes have been sent already.
export function sendForm(method, path, fields) {
  const form = new FormData();
  for (const [name, values] of Object.entries(fields)) for (const value of [values].flat()) form.append(name, value);
  return ask(path, { method, body: form });
}

async function explain(answer) {
  try {
    const { detail, extra } = await answer.json();
    return extra?.[0]?.message ?? detail;
  } catch {
    return `The server answered ${answer.status}`; // not the application but a proxy before it
  }
}

export const documentPath = (item) => `/documents/${encodeURIComponent(item.id)}`;

// Where a file is changed, downloaded or shown.
export const filePath = (item, place, way = "files") =>
  `${documentPath(item)}/${way}/${encodeURIComponent(item.files[place].id)}`;

// What is shown of a file; the address changes with its content, so no browser shows the one before.
export const shown = (item, place) => {
  const { content_type: type, filename: name, size, etag } = item.files[place];
  return { url: `${filePath(item, place, "previews")}?${new URLSearchParams({ etag })}`, type, name, size };
};
