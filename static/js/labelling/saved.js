// A line that shows whether everything is saved and, if not, what to do.

export class SavedLine {
  #line = document.getElementById("saved");
  #again = document.getElementById("again");
  #outbox;
  #note = "";

  constructor(outbox) {
    this.#outbox = outbox;
    outbox?.addEventListener("change", () => this.#show());
    outbox?.addEventListener("refused", ({ detail }) => this.note(detail.act.kind === "undo" ? `Not undone. ${detail.sentence}` : ""));
    this.#again?.addEventListener("click", () => outbox.tryAgain());
  }

  // A note that is shown in place of “All saved”, until the next one.
  note(sentence) {
    this.#note = sentence;
    this.#show();
  }

  #show() {
    if (!this.#line || !this.#outbox) return;
    const { state, waiting, trouble } = this.#outbox;
    const kept = `${waiting === 1 ? "1 change" : `${waiting} changes`} not saved, kept in this browser`;
    const words = { saved: "All saved", saving: `Saving ${waiting}`, unsaved: `${kept}. ${trouble}` }[state];
    this.#line.dataset.state = state;
    this.#line.textContent = this.#note && state === "saved" ? this.#note : words;
    if (this.#again) this.#again.hidden = state !== "unsaved";
  }
}
