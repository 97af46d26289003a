// Text on a film: the suspected boxes as boxes that can be moved, and the keys of the decision. A black-out is asked
// about once more, by a second press, since it cannot be undone.

import { listenToKeys } from "./labelling/keys.js";

const MARGIN_PX = 4; // around a suspected line, whose characters may be cut close

const review = document.getElementById("text-review");
const host = document.querySelector("[data-hilum-viewer]");

if (review && host) {
  const form = document.getElementById("decide");
  const blackOut = form.querySelector('[value="blacked out"]');
  const warning = document.getElementById("warning");
  const quiet = warning.textContent;
  let isAsked = false;

  const show = (boxes) => {
    form.elements.boxes.value = JSON.stringify(boxes.map(({ x, y, width, height }) => ({ x, y, width, height })));
    blackOut.disabled = !boxes.length;
    document.getElementById("count").textContent = boxes.length === 1 ? "the box" : `the ${boxes.length || ""} boxes`;
    isAsked = false;
    warning.textContent = quiet;
    warning.classList.remove("hilum-warning");
  };

  const start = () => {
    const viewer = host.hilumViewer;
    viewer.editBoxes({ findings: ["text"], confidence: false, onChange: show });
    const lines = JSON.parse(document.getElementById("lines").textContent);
    const { rows, columns } = review.dataset;
    viewer.setBoxes(lines.map((line) => around(line, Number(rows), Number(columns))));
    show(viewer.boxes);
    review.dataset.state = "ready"; // boxes and keys are active from here on
  };

  form.addEventListener("submit", (event) => {
    if (event.submitter !== blackOut || isAsked) return;
    event.preventDefault();
    isAsked = true;
    warning.textContent = "Press once more to black out for good: the pixels below the boxes, and in copies, are not kept.";
    warning.classList.add("hilum-warning");
  });

  listenToKeys(
    (key, event) => {
      const target = review.querySelector(`[data-key="${CSS.escape(key)}"]`);
      if (target && !event.repeat) target.click();
      return Boolean(target);
    },
    { isFree: (target) => target.closest("#film-view") },
  );

  if (host.dataset.state === "ready") start();
  else host.addEventListener("hilum:ready", start, { once: true });
}

function around({ x, y, width, height }, rows, columns) {
  const [left, top] = [Math.max(0, x - MARGIN_PX), Math.max(0, y - MARGIN_PX)];
  const right = Math.min(columns, x + width + MARGIN_PX);
  const bottom = Math.min(rows, y + height + MARGIN_PX);
  return { x: left, y: top, width: right - left, height: bottom - top, finding: "text" };
}
