// Security keys: the button asks the browser for the key, and sends its answer with the form.

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

for (const form of document.querySelectorAll("form[data-security-key]")) {
  const button = form.querySelector("button");
  const state = form.querySelector("[data-state]");
  if (!navigator.credentials || !window.PublicKeyCredential) continue;
  button.disabled = false;
  state.textContent = "";
  form.addEventListener("submit", async (event) => {
    if (form.elements.credential.value) return;
    event.preventDefault();
    button.disabled = true;
    state.textContent = "Touch your key.";
    const options = decoded(JSON.parse(form.querySelector("script").textContent));
    try {
      const credential = await navigator.credentials[form.dataset.securityKey](options);
      form.elements.credential.value = JSON.stringify(encoded(credential));
      form.submit();
    } catch (error) {
      state.textContent = SENTENCES[error.name] ?? `The key did not work (${error.name}). Try again.`;
      button.disabled = false;
    }
  });
}
