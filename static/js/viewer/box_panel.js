// The list of own boxes beside the film: finding and confidence of each, draw, undo, redo, delete.

import { keyOf } from "./controls.js";
import { element } from "./dom.js";

const NOT_NAMED = "Not named";

export function createBoxPanel(panels, { onDraw, onEdit, onSelect, onChange, onDelete }) {
  const button = (text, key, title, act) => {
    const node = element("button", { type: "button", classes: "hv-button", title: `${title} (${key})`, "aria-keyshortcuts": key });
    node.append(text, element("kbd", { text: key, "aria-hidden": "true" }));
    node.addEventListener("click", act);
    return node;
  };
  const more = `Draw a box with the mouse; ${keyOf("draw_in_middle")} adds one in the middle`;
  const draw = button("Draw", keyOf("draw"), more, onDraw);
  draw.dataset.edit = "draw";
  const undo = button("Undo", keyOf("undo_box"), "Take back the last change of the boxes", () => onEdit("undo"));
  const redo = button("Redo", keyOf("redo_box"), "Make the change again", () => onEdit("redo"));
  const list = element("ol", { classes: "hv-boxlist" });
  const hint = element("p", { classes: "hv-hint", text: "Arrows move the box in focus, Alt and arrows size it, Delete removes it." });
  const panel = element("section", { classes: "hv-panel", "aria-label": "Own boxes" }, [
    element("h2", { text: "Own boxes" }),
    element("div", { classes: "hv-row" }, [draw, undo, redo]),
    list,
    hint,
  ]);
  panel.hidden = true;
  panels.append(panel);

  const rows = [];
  let withConfidence = true;
  const makeRow = (i) => {
    const name = element("button", { type: "button", classes: "hv-button hv-boxname", text: `Box ${i + 1}` });
    const finding = element("select", { classes: "hv-select", "aria-label": `Finding of box ${i + 1}` });
    const confidence = element("input", {
      type: "number",
      min: "0",
      max: "100",
      step: "1",
      classes: "hv-select hv-number",
      placeholder: "%",
      "aria-label": `Confidence in box ${i + 1}, 0 to 100 %`,
    });
    const remove = element("button", { type: "button", classes: "hv-button", text: "Delete", "aria-label": `Delete box ${i + 1}` });
    name.addEventListener("click", () => onSelect(i));
    // After a choice by pointer the keys are the page's again: a letter typed into the list would choose another finding.
    let isByPointer = false;
    finding.addEventListener("pointerdown", () => (isByPointer = true));
    finding.addEventListener("keydown", () => (isByPointer = false));
    finding.addEventListener("change", () => {
      onChange(i, { finding: finding.value });
      if (isByPointer) finding.blur();
    });
    confidence.addEventListener("change", () => onChange(i, { confidence: percent(confidence) }));
    confidence.hidden = !withConfidence;
    remove.addEventListener("click", () => onDelete(i));
    const item = element("li", {}, [name, remove, finding, confidence]);
    list.append(item);
    return { item, finding, confidence };
  };

  return {
    show({ confidence = true } = {}) {
      panel.hidden = false;
      withConfidence = confidence;
    },
    update({ boxes, selected, drawing, findings, history }) {
      draw.setAttribute("aria-pressed", String(drawing));
      undo.disabled = !history.canUndo;
      redo.disabled = !history.canRedo;
      while (rows.length > boxes.length) rows.pop().item.remove();
      while (rows.length < boxes.length) rows.push(makeRow(rows.length));
      boxes.forEach((box, i) => fillRow(rows[i], box, i === selected, findings));
      hint.hidden = !boxes.length;
    },
  };
}

function fillRow({ item, finding, confidence }, box, isSelected, findings) {
  item.classList.toggle("is-selected", isSelected);
  const names = ["", ...new Set(box.finding ? [...findings, box.finding] : findings)];
  const shown = [...finding.options].map(({ value }) => value);
  if (names.join("\n") !== shown.join("\n")) {
    finding.replaceChildren(...names.map((name) => new Option(name || NOT_NAMED, name)));
  }
  finding.value = box.finding ?? "";
  const text = box.confidence == null ? "" : String(box.confidence);
  if (document.activeElement !== confidence || confidence.value === "") confidence.value = text;
}

// null for an empty field; a number out of range is clamped to 0 or 100.
function percent(field) {
  const value = field.valueAsNumber;
  return Number.isFinite(value) ? Math.min(100, Math.max(0, Math.round(value))) : null;
}
