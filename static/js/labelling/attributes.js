// The attributes of a normal film (device, variant …), ticked as its label has them. They are sent with the label “normal”, and
// only if they were changed by hand: a normal film that is confirmed keeps its own.

export class Attributes {
  #part = document.getElementById("attributes");
  isEdited = false;

  constructor() {
    this.#part?.addEventListener("change", () => (this.isEdited = true));
  }

  get ticked() {
    return this.#boxes().filter((box) => box.checked).map((box) => box.value);
  }

  offer({ value = "", attributes = [] } = {}) {
    this.isEdited = false;
    for (const box of this.#boxes()) box.checked = value === "normal" && attributes.includes(box.value);
  }

  // The attributes to send with a label, or null: those that the film has are kept.
  stated(value) {
    return value === "normal" && this.isEdited ? this.ticked : null;
  }

  // Shift with a digit. On a keyboard whose digits need Shift, the key is a digit and picks a finding.
  onKey(key, event) {
    const digit = event.shiftKey && !/^\d$/.test(key) ? /^Digit(\d)$/.exec(event.code)?.[1] : null;
    const box = digit && this.#part?.querySelector(`[data-attribute="${digit}"]`);
    if (!box) return false;
    box.checked = !box.checked;
    box.closest("details")?.setAttribute("open", "");
    this.isEdited = true;
    return true;
  }

  #boxes() {
    return [...(this.#part?.querySelectorAll("input") ?? [])];
  }
}

export function labelDetails({ findings = [], attributes }) {
  return [...findings, ...(attributes ?? [])].join(", ");
}

// A label names the criteria in force when it is saved. If a new version was written since the page was opened, the person
// is told once.
export function noteNewCriteria(saved, { criteria }) {
  const part = document.getElementById("criteria");
  if (!part || !criteria || Number(part.dataset.version) === criteria) return;
  part.dataset.version = criteria;
  saved.note(`What normal means has changed to v${criteria}: reload the page to read it`);
}
