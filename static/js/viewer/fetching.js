// A failure whose message is fit for a reader's eyes.
export class ViewerError extends Error {}

export class SessionEnded extends ViewerError {}

// The sentence that a reader sees for any failure.
export function sentence(error) {
  if (error instanceof ViewerError) return error.message;
  console.error(error);
  return "The viewer had an internal error. Reload the page; if it happens again, tell an administrator.";
}

export async function fetchJson(url, what, { signal } = {}) {
  const response = await fetchChecked(url, what, signal);
  try {
    return await response.json();
  } catch {
    throw new ViewerError(`${what} came back unreadable. Try again; if it stays, tell an administrator.`);
  }
}

export async function fetchBytes(url, what, { expected, onProgress, signal } = {}) {
  const response = await fetchChecked(url, what, signal);
  const chunks = [];
  let received = 0;
  try {
    for (let reader = response.body.getReader(), part; !(part = await reader.read()).done; ) {
      chunks.push(part.value);
      received += part.value.length;
      if (expected) onProgress?.(Math.min(1, received / expected));
    }
  } catch {
    throw new ViewerError(`${what} broke off after ${megabytes(received)}. Check the connection and try again.`);
  }
  return joined(chunks, received);
}

async function fetchChecked(url, what, signal) {
  let response;
  try {
    response = await fetch(url, { signal });
  } catch {
    throw new ViewerError(`${what} could not be fetched: the server did not answer. Check the connection and try again.`);
  }
  if (response.redirected && response.headers.get("Content-Type")?.startsWith("text/html")) {
    throw new SessionEnded("Your session has ended. Log in again in another tab, then try again.");
  }
  if (!response.ok) {
    const advice = (await serverSentence(response)) ?? httpAdvice(response.status);
    throw new ViewerError(`${what} could not be fetched (HTTP ${response.status}). ${advice}`);
  }
  return response;
}

// {"error": "…"}, if the server sends a reason.
async function serverSentence(response) {
  if (!response.headers.get("Content-Type")?.startsWith("application/json")) return null;
  const body = await response.json().catch(() => null);
  return typeof body?.error === "string" ? body.error : null;
}

function httpAdvice(status) {
  if (status === 403) return "You may not see it; ask a manager of the site.";
  if (status === 404) return "It is gone, or belongs to another site.";
  return "Try again in a minute.";
}

function joined(chunks, length) {
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

function megabytes(count) {
  return `${(count / 1e6).toFixed(1)} MB`;
}
