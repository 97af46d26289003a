// A client of the tus protocol 1.0 (portal/api/resumable.py): announces, sends in parts, and continues after a cut where
// the server says that it is.

const VERSION = { "Tus-Resumable": "1.0.0" };
const PART = 8 * 2 ** 20; // a proxy may keep a part until it has all of it, and a cut loses what it has
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

// The server will not take it, and trying again does not help.
export class UploadRefused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

class Cut extends Error {}

// `metadata`: names and values. Returns the upload's address.
export async function announce(address, size, metadata, csrf) {
  const headers = { "Upload-Length": String(size), "Upload-Metadata": encode(metadata) };
  const answer = await request("POST", address, { headers, csrf });
  return answer.getResponseHeader("Location");
}

export async function discard(address, csrf) {
  await request("DELETE", address, { csrf });
}

// Sends what is missing of `source` (size, read). `onProgress` gets the number of bytes that are there, `onCut` whether the
// connection is cut. Returns the UUID of the import. Throws UploadRefused, and AbortError if `signal` says so.
export async function send(address, source, { csrf, signal, onProgress, onCut }) {
  let wait = FIRST_WAIT_MS;
  for (;;) {
    let offset = null;
    try {
      const head = await request("HEAD", address, { csrf, signal });
      offset = Number(head.getResponseHeader("Upload-Offset"));
      let imported = head.getResponseHeader("Hilum-Import");
      while (!imported) {
        onCut(false);
        onProgress(offset);
        const body = await source.read(offset, PART);
        const from = offset;
        const headers = { "Upload-Offset": String(from), "Content-Type": "application/offset+octet-stream" };
        const answer = await request("PATCH", address, {
          headers,
          body,
          csrf,
          signal,
          onSent: (sent) => onProgress(from + sent),
        });
        offset = Number(answer.getResponseHeader("Upload-Offset"));
        if (offset > from) wait = FIRST_WAIT_MS;
        imported = answer.getResponseHeader("Hilum-Import");
      }
      onProgress(offset);
      return imported;
    } catch (error) {
      if (!(error instanceof Cut)) throw error;
      if (offset !== null) await checkReadable(source, offset);
      onCut(true);
      await pause(wait, signal);
      wait = Math.min(LONGEST_WAIT_MS, wait * 2);
    }
  }
}

// A browser reports a file that it cannot read like a connection that is cut.
async function checkReadable(source, offset) {
  try {
    await (await source.read(offset, PART)).arrayBuffer();
  } catch {
    throw new UploadRefused("A file cannot be read any more: it was changed or moved after it was chosen.", 0);
  }
}

function request(method, address, { headers = {}, body = null, csrf, signal, onSent }) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest(); // fetch does not say how much of a body has been sent
    const abort = () => xhr.abort();
    xhr.open(method, address);
    const all = { ...VERSION, ...headers, "X-CSRFToken": csrf(), Accept: "application/json" };
    for (const [name, value] of Object.entries(all)) xhr.setRequestHeader(name, value);
    if (onSent) xhr.upload.addEventListener("progress", (event) => onSent(event.loaded));
    xhr.addEventListener("error", () => reject(new Cut()));
    xhr.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
    xhr.addEventListener("load", () => {
      if (xhr.status >= 200 && xhr.status < 300) resolve(xhr);
      else if (isPassing(xhr.status)) reject(new Cut());
      else reject(new UploadRefused(sentenceOf(xhr), xhr.status));
    });
    xhr.addEventListener("loadend", () => signal?.removeEventListener("abort", abort));
    if (signal?.aborted) reject(new DOMException("", "AbortError"));
    signal?.addEventListener("abort", abort);
    xhr.send(body);
  });
}

// Another request is at it, or was; or the server, or what is before it, is not well.
function isPassing(status) {
  return status === 409 || status === 423 || status === 429 || (status >= 500 && status !== 507);
}

function sentenceOf(xhr) {
  try {
    const answer = JSON.parse(xhr.responseText);
    return answer.detail ?? answer.error;
  } catch {
    return `The server answered ${xhr.status}.`;
  }
}

function encode(metadata) {
  const toBase64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
  return Object.entries(metadata).map(([name, value]) => `${name} ${toBase64(String(value))}`).join(",");
}

// Until the time is over, or the browser is online again.
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      window.removeEventListener("online", done);
      if (signal?.aborted) reject(new DOMException("", "AbortError"));
      else resolve();
    };
    const timer = setTimeout(done, ms);
    window.addEventListener("online", done);
    signal?.addEventListener("abort", done, { once: true });
  });
}
