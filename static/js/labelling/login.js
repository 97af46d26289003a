// Logs the same person in again without leaving the page, in the steps of the log-in page: the password, then the second
// factor of a person who has one. What has to be asked elsewhere, such as single sign-on, opens in a new tab, and the dialog
// goes on when it succeeded there.

import { answerOfKey, hasKeys } from "../webauthn.js";
import { Trouble, renewSession } from "./server.js";

export const LOGGED_IN = "hilum-logged-in"; // the channel on which another tab says that it logged somebody in
const NO_ANSWER = "The server did not answer; try again.";

let ofPage = null;

// Whether the page has a dialog: not if nobody is logged in, nor for a member of no site.
export function hasLoginDialog() {
  return document.getElementById("login") !== null || document.getElementById("log-in-again") !== null;
}

// The dialog of the page, which is one for all its scripts. Most pages have it in a template, since password managers would fill
// in its fields; those that keep labels or readings have it as such.
export function loginDialog() {
  if (!document.getElementById("login")) document.body.append(document.getElementById("log-in-again").content.cloneNode(true));
  ofPage ??= new LoginDialog();
  return ofPage;
}

// What `send` resolves to, which is called again once the person has logged in again where the session had ended.
export async function withLogIn(send) {
  try {
    return await send();
  } catch (error) {
    if (error.kind !== "out" || !(await loginDialog().again())) throw error;
    return send();
  }
}

// Events: "opened", "closed", "renewed" (the person of the page is logged in again, and the page has the new token).
class LoginDialog extends EventTarget {
  #dialog = document.getElementById("login");
  #password = document.getElementById("login-form"); // missing where the person has no password
  #factor = document.getElementById("login-factor");
  #person = this.#dialog.dataset.person;
  #sessionUrl = new URL(this.#dialog.dataset.sessionUrl, location);
  #loginUrl = new URL(this.#dialog.dataset.loginUrl, location);
  #page = null; // that of the second factor, once the password was right
  #isBusy = false;
  #isRenewed = false;

  constructor() {
    super();
    this.#loginUrl.searchParams.set("next", this.#sessionUrl.pathname); // so the end of the log-in is known by its address
    this.#onSubmit(this.#password, () => this.#logIn());
    this.#onSubmit(this.#factor, () => this.#send(this.#page, { code: this.#factor.elements.code.value }));
    this.#factor?.querySelector("[data-key]").addEventListener("click", () => this.#attempt(() => this.#askKey()));
    this.#dialog.querySelector("[data-later]").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("close", () => {
      this.#begin();
      this.dispatchEvent(new Event("closed"));
    });
    new BroadcastChannel(LOGGED_IN).addEventListener("message", () => this.#look());
    window.addEventListener("focus", () => this.#look());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#look());
  }

  get isOpen() {
    return this.#dialog.open;
  }

  open() {
    if (!this.#dialog.open) {
      this.#begin();
      this.#isRenewed = false;
      this.#dialog.showModal();
      this.dispatchEvent(new Event("opened"));
    }
    this.#focus();
  }

  // Resolves to whether the person has logged in again; not if they do it later.
  again() {
    this.open();
    return new Promise((done) => this.addEventListener("closed", () => done(this.#isRenewed), { once: true }));
  }

  // Throws where nobody or somebody else is logged in.
  renew() {
    return renewSession(this.#sessionUrl, this.#person);
  }

  #begin() {
    this.#page = null;
    this.#password?.reset();
    this.#factor?.reset();
    this.#say("");
    this.#show();
  }

  // The step that the person is at.
  #show() {
    if (!this.#password) return;
    this.#password.hidden = this.#page !== null;
    this.#factor.hidden = this.#page === null;
    this.#factor.querySelector("[data-key]").hidden = !(this.#page?.keyOptions && hasKeys());
  }

  #focus() {
    (this.#dialog.querySelector("form:not([hidden]) input:not([readonly])") ?? this.#dialog.querySelector("a")).focus();
  }

  #onSubmit(form, act) {
    form?.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#attempt(act);
    });
  }

  async #attempt(act) {
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.#say("");
    try {
      await act();
    } catch (error) {
      this.#say(error instanceof TypeError ? NO_ANSWER : error.message); // a TypeError is that of fetch
    } finally {
      this.#isBusy = false;
    }
  }

  async #logIn() {
    const page = await load(this.#loginUrl);
    if (this.#isSession(page)) return this.#goOn(); // logged in meanwhile, in another tab
    const { login, password } = this.#password.elements;
    await this.#send(page, { login: login.value, password: password.value });
  }

  async #askKey() {
    this.#say("", "Touch your key.");
    const credential = await answerOfKey("get", this.#page.keyOptions);
    this.#say("");
    await this.#send(this.#page, { credential });
  }

  async #send(to, fields) {
    const wasAtFactor = this.#page !== null;
    const page = await load(to.url, { csrfmiddlewaretoken: to.token, ...fields });
    if (this.#isSession(page)) return this.#goOn();
    this.#page = page.asksForFactor ? page : null;
    this.#show();
    if (page.asksForFactor && !wasAtFactor) this.#factor.reset();
    else if (wasAtFactor && !page.asksForFactor) this.#say(page.alert || "The log-in took too long; begin again.");
    else this.#say(page.alert || "The log-in did not succeed; try again, or log in in a new tab.");
    this.#focus();
  }

  #isSession(page) {
    return new URL(page.url).pathname === this.#sessionUrl.pathname;
  }

  // Throws where somebody else is logged in.
  async #goOn() {
    await this.renew();
    this.#isRenewed = true;
    this.#dialog.close();
    this.dispatchEvent(new Event("renewed"));
  }

  // Whether the person has logged in elsewhere in this browser.
  async #look() {
    if (!this.#dialog.open || this.#isBusy) return;
    try {
      await this.#goOn();
    } catch (trouble) {
      if (trouble instanceof Trouble && trouble.kind === "other") this.#say(trouble.message);
    }
  }

  #say(fault, state = "") {
    document.getElementById("login-fault").textContent = fault;
    document.getElementById("login-state").textContent = state;
  }
}

// What the dialog needs of a page of the log-in.
async function load(url, fields = null) {
  const headers = { "Hilum-Dialog": "1" }; // begins a log-in anew, where another waits for its second factor
  const answer = await fetch(url, fields ? { method: "POST", body: new URLSearchParams(fields), headers } : { headers });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return {
    url: answer.url,
    token: page.querySelector("input[name=csrfmiddlewaretoken]")?.value ?? "",
    alert: page.querySelector("main [role=alert], main .alert-warning, main .alert-danger")?.textContent.trim().replace(/\s+/g, " ") ?? "",
    asksForFactor: page.querySelector("main input[name=code]") !== null,
    keyOptions: page.querySelector("form[data-security-key] script")?.textContent ?? "",
  };
}
