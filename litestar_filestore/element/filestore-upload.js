// <filestore-upload>: a form control that uploads files while the form is filled in. Its form value is the reference of
// each finished upload. It speaks tus 1.0.0 (https://tus.io/protocols/resumable-upload), or puts the parts of files where
// the routes for direct uploads say, as a rule into the bucket.
//
// Browsers get one of two files, which are this one without comments, with short names and with one way of sending:
//     terser filestore-upload.js --module --compress passes=3 --mangle --define DIRECT=false > filestore-upload.min.js
//     terser filestore-upload.js --module --compress passes=3 --mangle --define DIRECT=true > filestore-upload-direct.min.js

const RESULT_HEADER = 'Filestore-Reference';
const ATTEMPTS = 8;
const SILENCE_MS = 60000;

// What the element says; the attribute `text-pause` replaces the text `pause`.
const TEXTS = {
  uploading: 'Uploading',
  trouble: 'Trying again',
  paused: 'Paused',
  done: 'Uploaded',
  pause: 'Pause',
  resume: 'Resume',
  remove: 'Remove',
  type: 'Files of this type are not accepted',
  size: 'The file is too large',
  failed: 'The upload failed',
  required: 'Choose a file and wait until it is uploaded',
};

// Lines are made of the text's colour, so they fit a light page and a dark one, however it is made dark.
const sheet = new CSSStyleSheet();
sheet.replaceSync(`
:host(:not([hidden])){display:block}
button,li{font:inherit;background:none;border:1px solid color-mix(in srgb,currentColor 40%,transparent);border-radius:.5em;padding:.4em .8em}
button:enabled{color:inherit}
[part=button]{width:100%;padding:1.5em;border-style:dashed;border-width:2px}
.over{border-style:solid}
ul{padding:0}
li{display:flex;flex-wrap:wrap;align-items:center;gap:.5em;margin:.5em 0}
[part~=error]{border:2px solid #e5484d}
div{flex:1 6em;overflow-wrap:anywhere}
small{display:block}
progress{width:100%}
output{position:absolute;clip-path:inset(50%)}
`);

const make = (tag, properties, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};

// Where uploads are, so that they are resumed when the page has been loaded again. A browser may forbid the storage, or
// it may be full: then they start anew.
const storage = (method, key, url) => {
  try {
    return localStorage[method](key, url);
  } catch {}
};

const base64 = text => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

const isGone = status => /404|410/.test(status);

customElements.define('filestore-upload', class extends HTMLElement {
  static formAssociated = true;
  static observedAttributes = ['accept', 'multiple', 'name', 'required'];
  #update;
  #items = new Set();

  disconnectedCallback() {
    for (const item of this.#items) item.pause();
  }

  attributeChangedCallback() {
    this.#update();
  }

  formDisabledCallback() {
    this.#update();
  }

  // What has been sent with the form may belong to a row now: only unfinished uploads are given up.
  formResetCallback() {
    for (const item of this.#items) item.remove(item.reference);
  }

  get value() {
    const references = [...this.#items].flatMap(item => item.reference || []);
    return this.hasAttribute('multiple') ? references : references[0] || '';
  }

  constructor() {
    super();
    const host = this;
    const items = host.#items;
    const internals = host.attachInternals();
    const root = host.attachShadow({ mode: 'open', delegatesFocus: true });
    const attribute = name => host.getAttribute(name) || '';
    const text = key => attribute('text-' + key) || TEXTS[key];
    const beginning = () => DIRECT ? attribute('endpoint') + '/begin' : attribute('endpoint');
    // Files go up one after the other.
    let queue;

    // Drop and paste do not look at `accept`. What has no type here may have one for the server.
    const accepts = ({ name, type }) => !input.accept || input.accept.toLowerCase().split(/[ ,]+/).some(pattern =>
      pattern[0] == '.' ? name.toLowerCase().endsWith(pattern)
        : (type || pattern).startsWith(pattern.replace('*', '')));

    const add = files => {
      if (button.disabled) return;
      for (const file of input.multiple ? files : [...files].slice(0, 1)) {
        const key = [beginning(), file.name, file.size, file.lastModified].join();
        const known = [...items].find(item => item.key == key);
        if (known) known.resume();
        else {
          if (!input.multiple) for (const item of items) item.remove();
          upload(file, key);
        }
      }
    };

    const input = make('input', { type: 'file', hidden: true, onchange() {
      add(input.files);
      // So that choosing the same file again is a change.
      input.value = '';
    } });
    const button = make('button', { part: 'button', onclick: () => input.click() },
      make('slot', { textContent: 'Choose, drop or paste' }));
    const list = make('ul');
    const status = make('output');
    root.adoptedStyleSheets = [sheet];
    root.append(input, button, list, status);
    internals.role = 'group';

    // What form libraries ask a control for.
    for (const key of ['form', 'validity', 'willValidate', 'checkValidity', 'reportValidity'])
      Object.defineProperty(host, key, { get: () => internals[key]?.bind?.(internals) ?? internals[key] });

    host.#update = () => {
      input.multiple = host.hasAttribute('multiple');
      input.accept = attribute('accept');
      button.disabled = host.matches(':disabled');
      const value = new FormData();
      for (const { reference } of items) if (reference) value.append(attribute('name'), reference);
      internals.setFormValue(attribute('name') && value);
      const valueMissing = host.hasAttribute('required') && !items.size;
      const customError = [...items].some(item => !item.reference);
      internals.setValidity({ valueMissing, customError }, text('required'), button);
    };

    host.onpaste = event => add(event.clipboardData.files);
    host.ondragover = host.ondragleave = host.ondrop = event => {
      event.preventDefault();
      button.className = event.type == 'dragover' ? 'over' : '';
      if (event.type == 'drop') add(event.dataTransfer.files);
    };
    // A click on the label arrives at the element itself.
    host.onclick = event => {
      if (event.composedPath()[0] == host) button.click();
    };

    const upload = (file, key) => {
      const { name, size } = file;
      let url, run, request, wake;
      let offset = 0;

      const tell = (type, detail) =>
        host.dispatchEvent(new CustomEvent(type, { bubbles: true, detail: { file, ...detail } }));
      const show = (state, note) => {
        node.part = state;
        noted.textContent = note;
        toggle.ariaLabel = (toggle.textContent = text(run ? 'pause' : 'resume')) + ' ' + name;
        if (item.isOver && toggle.matches(':focus')) end.focus();
        bar.hidden = toggle.hidden = item.isOver;
      };
      const say = (state, note = text(state)) => {
        show(state, note);
        status.textContent = name + ': ' + note;
        host.#update();
      };
      const progress = loaded => {
        bar.value = loaded;
        show('uploading', Math.floor(100 * bar.position) + ' %');
        tell('filestore:progress', { loaded, total: size });
      };
      const fail = (message, status) => {
        run = 0;
        say('error', message);
        tell('filestore:error', { message, status });
      };
      // Nothing of an attempt goes on when `run` has changed.
      const stop = () => {
        run = 0;
        request?.abort();
        wake?.();
      };

      // Resolves with the request when it is answered with a success, and rejects with it otherwise.
      const send = (method, to, headers, body) => new Promise((resolve, reject) => {
        const sent = request = new XMLHttpRequest();
        let timer;
        // A connection can die without a word.
        const watch = () => {
          clearTimeout(timer);
          timer = setTimeout(() => sent.abort(), SILENCE_MS);
        };
        const token = /\bcsrftoken=([^;]+)/.exec(document.cookie);
        sent.open(method, to);
        // A bucket lets pages send no header that it does not know.
        headers = DIRECT ? { ...headers } : { 'Tus-Resumable': '1.0.0', ...headers };
        // The token is for this site only.
        if (token && new URL(to, document.baseURI).origin == location.origin) headers['x-csrftoken'] = token[1];
        for (const name in headers) sent.setRequestHeader(name, headers[name]);
        if (DIRECT ? body?.size : body)
          sent.upload.onprogress = ({ loaded }) => {
            watch();
            progress(offset + loaded);
          };
        // The server may take its time to finish.
        sent.upload.onloadend = () => clearTimeout(timer);
        sent.onloadend = () => {
          clearTimeout(timer);
          (/^2/.test(sent.status) ? resolve : reject)(sent);
        };
        watch();
        sent.send(body);
      });

      const ask = async (method, to, headers, body) => JSON.parse((await send(method, to, headers, body)).responseText);

      // One attempt, from what the server has to the last byte. Rejects with the answer that ended it.
      const transfer = DIRECT ? async () => {
        // Behind the # of the URL stands what only the page needs; browsers do not send it.
        const at = path => url.replace('#', path + '#');
        const finish = async () => item.reference = (await ask('POST', at('/complete'))).key;
        url ||= storage('getItem', key);
        if (url)
          // It may be complete: the page was loaded again, or the answer was lost. 409 says that something is missing.
          await finish().catch(refusal => {
            if (isGone(refusal.status)) url = storage('removeItem', key);
            else if (refusal.status != 409) throw refusal;
          });
        if (!url) {
          const { ticket, part_bytes } = await ask('POST', beginning(), { 'Content-Type': 'application/json' },
            JSON.stringify({ filename: name, size, type: file.type }));
          url = new URL(`${attribute('endpoint')}/s3/multipart/${ticket}#${part_bytes}`, document.baseURI).href;
          storage('setItem', key, url);
        }
        if (item.reference) return;
        const bytes = url.split('#')[1];
        const arrived = (await ask('GET', url)).map(part => part.PartNumber);
        for (let number = 1; (offset = (number - 1) * bytes) < size; number++) {
          progress(offset);
          if (!arrived.includes(number))
            await send('PUT', (await ask('GET', at('/' + number))).url, {}, file.slice(offset, number * bytes));
        }
        progress(size);
        await finish();
      } : async () => {
        let answer;
        url ||= storage('getItem', key);
        if (url)
          answer = await send('HEAD', url).catch(refusal => {
            if (!isGone(refusal.status)) throw refusal;
            url = storage('removeItem', key);
          });
        if (!url) {
          answer = await send('POST', beginning(), {
            'Upload-Length': size,
            'Upload-Metadata': `filename ${base64(name)},filetype ${base64(file.type)}`,
          });
          url = new URL(answer.getResponseHeader('Location'), answer.responseURL).href;
          storage('setItem', key, url);
        }
        for (let before = -1; ; before = offset) {
          progress(offset = +answer.getResponseHeader('Upload-Offset'));
          if (offset >= size) break;
          // A server that keeps nothing of what it is sent is asked again later, as one that fails.
          if (offset <= before) throw {};
          answer = await send('PATCH', url, {
            'Content-Type': 'application/offset+octet-stream',
            'Upload-Offset': offset,
          }, file.slice(offset, offset + (+attribute('chunk-bytes') || size)));
        }
        item.reference = answer.getResponseHeader(RESULT_HEADER);
        if (!item.reference) throw answer;
      };

      const attempts = async id => {
        for (let attempt = 1; run == id; attempt += navigator.onLine) {
          const before = offset;
          try {
            await transfer();
            run = 0;
            item.isOver = true;
            say('done');
            tell('filestore:done', { reference: item.reference });
            tell('change');
          } catch ({ status = 0, responseText }) {
            if (run != id) return;
            if (offset > before) attempt = 1;
            const isTransient = /^0|^5|408|409|423|429|460/.test(status);
            // An upload that is gone is begun anew by the next attempt.
            if (attempt == ATTEMPTS || !isTransient && !(url && isGone(status))) {
              let words;
              try {
                // What Litestar says in the JSON of an error.
                const { detail, extra } = JSON.parse(responseText);
                words = extra?.[0]?.message || detail;
              } catch {}
              return fail(words || text('failed'), status);
            }
            say('uploading', text('trouble'));
            await new Promise(resolve => {
              wake = resolve;
              setTimeout(resolve, 2 ** attempt * 250 * (1 + Math.random()));
            });
          }
        }
      };

      const item = {
        key,
        pause() {
          if (run) {
            stop();
            say('paused');
          }
        },
        resume() {
          if (run || item.isOver) return;
          const id = run = {};
          say('uploading');
          queue = Promise.resolve(queue).then(() => attempts(id));
        },
        remove(isKept) {
          stop();
          if (url && !isKept) {
            // Once: what the server does not hear of expires there.
            send('DELETE', url).catch(() => {});
            storage('removeItem', key);
          }
          node.remove();
          items.delete(item);
          host.#update();
        },
      };
      const noted = make('small');
      const bar = make('progress', { max: size || 1, ariaLabel: name });
      const toggle = make('button', { onclick: () => run ? item.pause() : item.resume() });
      const end = make('button', { textContent: text('remove'), ariaLabel: text('remove') + ' ' + name, onclick() {
        item.remove();
        button.focus();
      } });
      const node = make('li', {}, make('div', {}, name, noted), toggle, end, bar);
      list.append(node);
      items.add(item);
      const limit = attribute('max-bytes');
      const refusal = !accepts(file) ? 'type' : limit && size > limit && 'size';
      item.isOver = refusal;
      if (refusal) fail(text(refusal));
      else item.resume();
    };

    host.#update();
  }
});
