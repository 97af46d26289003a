// The dialog of a conflict with somebody else's label.

const HASTE = 600; // ms in which a key is taken to be meant for the previous film
const ANY_FILM = "00000000-0000-4000-8000-000000000000"; // in addresses that pages give as patterns

export function labelWords({ value, findings = [], attributes = null, reason = "" }) {
  const more = [...findings, ...(attributes ?? []), ...(reason ? [`“${reason}”`] : [])];
  return [value || "taken back", ...more].join(", ");
}

// Shows conflicts one after another; each ends with a choice, or stays unsaved when it is closed.
export class MergeDialog {
  #dialog = document.getElementById("merge");
  #waiting = [];
  #shown = null;
  #shownAt = 0;
  #outbox;
  #previewUrl;

  constructor(outbox, previewUrl) {
    this.#outbox = outbox;
    this.#previewUrl = previewUrl;
    outbox.addEventListener("conflict", (event) => this.add(event.detail));
    this.#dialog.addEventListener("click", (event) => this.#choose(event.target.closest("[data-choice]")));
    this.#dialog.addEventListener("keydown", (event) => {
      if (performance.now() - this.#shownAt < HASTE) return event.preventDefault();
      const place = ["1", "2", "3"].indexOf(event.key);
      if (place >= 0) this.#choose(this.#dialog.querySelectorAll("[data-choice]")[place]);
    });
    this.#dialog.addEventListener("close", () => {
      this.#shown = null;
      this.#showNext();
    });
  }

  add({ act, changed }) {
    this.#waiting.push({ act, changed });
    this.#showNext();
  }

  #showNext() {
    if (this.#shown || !this.#waiting.length) return;
    this.#shown = this.#waiting.shift();
    const { act, changed } = this.#shown;
    const image = act.images[0].image;
    const now = changed[image];
    const theirs = now.theirs ?? { value: now.value, findings: now.findings, attributes: now.attributes, by: "", reason: "" };
    this.#part("mine").textContent = labelWords(act);
    this.#part("theirs").textContent = `${labelWords(theirs)}${theirs.by ? ` (${theirs.by})` : ""}`;
    this.#part("film").src = this.#previewUrl.replace(ANY_FILM, image);
    this.#part("words").textContent = now.may_settle
      ? "Keep mine: your label counts. Take theirs: yours is dropped. Leave unresolved: both labels are kept and an adjudicator decides."
      : "Take theirs: yours is dropped. Leave unresolved: both labels are kept and an adjudicator decides. Keep mine is for adjudicators.";
    this.#dialog.querySelector("[data-choice=mine]").disabled = !now.may_settle;
    this.#dialog.showModal();
    this.#dialog.querySelector("h2").focus(); // so that a late Enter makes no choice
    this.#shownAt = performance.now();
  }

  #part(name) {
    return document.getElementById(`merge-${name}`);
  }

  #choose(button) {
    if (!button || button.disabled || !this.#shown) return;
    const { act, changed } = this.#shown;
    this.#outbox.merge(act, { choice: button.dataset.choice, seen: changed[act.images[0].image].seen });
    this.#dialog.close();
  }
}
