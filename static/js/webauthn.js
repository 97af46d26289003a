// What a security key and the server say to each other, in the terms of the browser.

const PLAIN = ["id", "challenge"]; // of which the server sends base64url
const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replace(/\+/g, "-")
    .replace(/\//g, "_")
    .replace(/=/g, "");

function decoded(value, name = "") {
  if (Array.isArray(value)) return value.map((one) => decoded(one));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, key === "rp" ? one : decoded(one, key)]));
  }
  return PLAIN.includes(name) && typeof value === "string" ? bytes(value) : value;
}

function encoded(credential) {
  const { response } = credential;
  const names = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"];
  const sent = Object.fromEntries(names.filter((name) => response[name]).map((name) => [name, text(response[name])]));
  if (response.getTransports) sent.transports = response.getTransports();
  return {
    type: credential.type,
    id: credential.id,
    rawId: text(credential.rawId),
    authenticatorAttachment: credential.authenticatorAttachment,
    response: sent,
    clientExtensionResults: credential.getClientExtensionResults(),
  };
}

const SENTENCES = {
  NotAllowedError: "The key was not used in time, or the request was cancelled. Try again.",
  InvalidStateError: "This key is added already.",
  SecurityError: "This address may not use security keys: it needs https and a host name.",
};

export const hasKeys = () => Boolean(navigator.credentials && window.PublicKeyCredential);

// The answer of the person's key, as JSON. `act`: "create" or "get"; `options`: those of the server, as JSON. Throws an
// error with a sentence for the person.
export async function answerOfKey(act, options) {
  try {
    return JSON.stringify(encoded(await navigator.credentials[act](decoded(JSON.parse(options)))));
  } catch (error) {
    throw new Error(SENTENCES[error.name] ?? `The key did not work (${error.name}). Try again.`);
  }
}
