// The requests of the labelling pages, and the kinds of errors that can come back.

// kind: "offline" (no answer, or the server's own fault: try again), "out" (the session has ended), "other" (somebody
// else is logged in), "refused" (it would be refused again), "conflict" (somebody else labelled the film).
export class Trouble extends Error {
  constructor(kind, message, answer = {}) {
    super(message);
    this.kind = kind;
    this.answer = answer;
  }
}

let token = null;

export function csrf() {
  token ??= JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
  return token;
}

// After a log-in the token of the page is stale, in its forms and for htmx too.
export function setCsrf(fresh) {
  token = fresh;
  document.body.setAttribute("hx-headers", JSON.stringify({ "X-CSRFToken": fresh }));
  for (const input of document.querySelectorAll("input[name=csrfmiddlewaretoken]")) input.value = fresh;
}

// Fetches who is logged in now and takes their token. Throws if nobody or somebody else is logged in.
export async function renewSession(sessionUrl, person) {
  const now = await ask(sessionUrl, { headers: { Accept: "application/json" } });
  if (now.person !== person) {
    throw new Trouble("other", "Somebody else is logged in: what is kept here is saved when its author logs in again.");
  }
  setCsrf(now.csrf);
}

// The server saves only in the name of the page's person. A stale token is renewed once; a request that is refused after
// that stays refused.
export async function post(url, fields, { sessionUrl, person }) {
  try {
    return await send(url, [["person", person], ...fields]);
  } catch (trouble) {
    if (trouble.kind !== "forbidden") throw trouble;
    await renewSession(sessionUrl, person);
    try {
      return await send(url, [["person", person], ...fields]);
    } catch (again) {
      throw again.kind === "forbidden" ? new Trouble("refused", again.message) : again;
    }
  }
}

function send(url, fields) {
  const body = new FormData();
  for (const [name, value] of fields) body.append(name, value);
  const headers = { "X-CSRFToken": csrf(), Accept: "application/json" };
  // browsers limit requests with keepalive to 64 kB
  return ask(url, { method: "POST", body, headers, keepalive: fields.length < 200 });
}

async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, { ...options, redirect: "manual" });
  } catch {
    throw new Trouble("offline", "The server did not answer.");
  }
  if (response.type === "opaqueredirect") throw new Trouble("out", "Your session has ended.");
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  const sentence = answer?.error ?? `The server answered ${response.status}.`;
  if (response.status === 403) throw new Trouble("forbidden", sentence);
  if (response.status === 409) throw new Trouble("conflict", sentence, answer ?? {});
  if (response.ok || response.status >= 500 || response.status === 429) throw new Trouble("offline", sentence);
  throw new Trouble("refused", sentence);
}
