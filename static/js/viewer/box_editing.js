// Boxes that a reader draws with the mouse, moves and resizes by key, deletes and restores by undo. In whole original
// pixels.

import { createBoxPanel } from "./box_panel.js";
import { boxWords, placeBox } from "./boxes.js";
import { boxOnScreen } from "./geometry.js";
import { createHistory } from "./history.js";
import { set, svg } from "./svg.js";

const LEAST_PX = 3; // in screen pixels: a shorter drag is a click
const CORNERS = [[0, 0], [1, 0], [0, 1], [1, 1]];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function createBoxEditor({ stage, panels, onChange }) {
  const layer = svg("svg", { class: "hv-own-boxes", role: "group", "aria-label": "Own boxes" });
  const history = createHistory([]);
  let drawn = []; // {group, outline, label, handles} in the order of the boxes
  let selected = -1;
  let on = false;
  let drawing = false;
  let pending = null; // a box that is being drawn
  let findings = [];
  let onPageChange = null; // the page's callback
  let dragging = null; // aborts the drag in progress
  const panel = createBoxPanel(panels, {
    onDraw: () => setDrawing(!drawing),
    onEdit: (what) => edit(what),
    onSelect: (i) => drawn[i]?.group.focus(),
    onChange: (i, change) => apply(replaced(i, change)),
    onDelete: (i) => remove(i),
  });

  const boxes = () => history.now;
  const replaced = (i, change) => boxes().map((box, n) => (n === i ? { ...box, ...change } : box));

  const apply = (next, { step } = {}) => {
    history.push(next, step);
    show();
    const copy = copies(next);
    onPageChange?.(copy);
    onChange(copy);
  };

  const remove = (i) => {
    const hadFocus = layer.contains(document.activeElement);
    apply(boxes().filter((_, n) => n !== i));
    if (hadFocus) (drawn[Math.min(i, drawn.length - 1)]?.group ?? stage.element).focus();
  };

  const show = () => {
    const focused = drawn.findIndex(({ group }) => group === document.activeElement);
    while (drawn.length > boxes().length) drawn.pop().group.remove();
    while (drawn.length < boxes().length) drawn.push(draw(drawn.length));
    if (selected >= drawn.length) selected = -1;
    if (focused >= 0) drawn[focused]?.group.focus();
    boxes().forEach((box, i) => describe(drawn[i], box, i));
    panel.update({ boxes: boxes(), selected, drawing, findings, history });
    if (stage.view) place(stage.view, stage.pixelRatio);
  };

  const draw = (i) => {
    const group = svg("g", { class: "hv-box hv-own", tabindex: "0", role: "button" });
    const handles = CORNERS.map(() => svg("rect", { class: "hv-handle" }));
    const shapes = { group, outline: svg("rect"), label: svg("text"), handles };
    group.append(shapes.outline, shapes.label, ...handles);
    group.addEventListener("focus", () => select(i));
    group.addEventListener("keydown", (event) => onBoxKey(event, i));
    layer.append(group);
    return shapes;
  };

  const describe = ({ group, label }, box, i) => {
    label.textContent = boxWords(box);
    group.classList.toggle("is-selected", i === selected);
    const { x, y, width, height } = box;
    group.setAttribute("aria-label", `Box ${i + 1}: ${boxWords(box)}, at ${x}, ${y}, ${width} by ${height} pixels`);
  };

  const place = (view, pixelRatio) => {
    boxes().forEach((box, i) => {
      placeBox(drawn[i], box, view, pixelRatio);
      const { x, y, width, height } = boxOnScreen(view, box, pixelRatio);
      CORNERS.forEach(([right, bottom], n) =>
        set(drawn[i].handles[n], { x: x + right * width - 5, y: y + bottom * height - 5, width: 10, height: 10 }),
      );
    });
    if (pending) set(pending.outline, boxOnScreen(view, pending.box, pixelRatio));
  };

  const select = (i) => {
    if (selected === i) return;
    selected = i;
    show();
  };

  const setDrawing = (next) => {
    drawing = next;
    stage.element.classList.toggle("is-drawing", drawing);
    show();
  };

  const moved = (box) => movedInto(box, stage.film);
  const cropped = (box) => croppedTo(box, stage.film);

  // Arrows move as seen on the screen, whichever way the film is turned.
  const originalStep = ([dx, dy], pixels) => {
    const [[a, b], [d, e]] = stage.view.matrix;
    const along = (p, q) => Math.sign(Math.round(1e6 * (p * dx + q * dy))) * pixels;
    return [along(a, d), along(b, e)];
  };

  const onBoxKey = (event, i) => {
    const arrow = ARROWS[event.key];
    const box = boxes()[i];
    if (arrow) {
      const [dx, dy] = originalStep(arrow, event.shiftKey ? 10 : 1);
      const next = event.altKey
        ? cropped({ ...box, width: Math.max(1, box.width + dx), height: Math.max(1, box.height + dy) })
        : moved({ ...box, x: box.x + dx, y: box.y + dy });
      apply(replaced(i, next), { step: `${event.altKey ? "size" : "move"} ${i}` });
    } else if (event.key === "Delete") remove(i);
    else if (event.key === "Escape") stage.element.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const addBox = (box) => {
    apply([...boxes(), { finding: findings.length === 1 ? findings[0] : "", confidence: null, ...box }]);
    drawn.at(-1).group.focus();
  };

  // A drag that began on the stage: draws, moves or resizes a box; the whole drag is one step of the history.
  const onPointerDown = (event) => {
    if (!on) return false;
    if (drawing) return startDrag(event, drawDrag(event)), true;
    const i = drawn.findIndex(({ group }) => group.contains(event.target));
    if (i < 0) return false;
    drawn[i].group.focus();
    const handle = drawn[i].handles.indexOf(event.target);
    startDrag(event, handle < 0 ? moveDrag(event, i) : sizeDrag(event, i, CORNERS[handle]));
    return true;
  };

  const startDrag = (start, { move, end }) => {
    const ending = (dragging = new AbortController());
    const { signal } = ending;
    start.preventDefault();
    const mine = (listener) => (event) => event.pointerId === start.pointerId && listener(event);
    window.addEventListener("pointermove", mine((event) => stage.view && move(event)), { signal });
    const finish = (event) => {
      ending.abort();
      if (stage.view) end(event);
    };
    window.addEventListener("pointerup", mine(finish), { signal });
    window.addEventListener("pointercancel", mine(finish), { signal });
  };

  const drawDrag = (start) => {
    const from = stage.originalAt(start);
    const outline = svg("rect", { class: "hv-pending" });
    layer.append(outline);
    pending = { outline, box: boxBetween(from, from) };
    return {
      move(event) {
        pending.box = cropped(boxBetween(from, stage.originalAt(event)));
        stage.redraw();
      },
      end(event) {
        const { box } = pending;
        pending = null;
        outline.remove();
        const far = Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) >= LEAST_PX;
        setDrawing(false);
        if (far && event.type === "pointerup") addBox(box);
      },
    };
  };

  const moveDrag = (start, i) => {
    const box = boxes()[i];
    const from = stage.originalAt(start);
    return dragOf(i, start, (event) => {
      const [x, y] = stage.originalAt(event);
      return moved({ ...box, x: box.x + x - from[0], y: box.y + y - from[1] });
    });
  };

  // Where the film is turned, a corner on the screen is another corner of the box.
  const sizeDrag = (start, i, [right, bottom]) => {
    const box = boxes()[i];
    const screen = boxOnScreen(stage.view, box, 1);
    const opposite = [screen.x + (1 - right) * screen.width, screen.y + (1 - bottom) * screen.height];
    const fixed = stage.originalOf(...opposite);
    return dragOf(i, start, (event) => cropped({ ...box, ...boxBetween(fixed, stage.originalAt(event)) }));
  };

  let drags = 0;
  const dragOf = (i, start, boxAt) => {
    const step = `drag ${drags++}`;
    const move = (event) => apply(replaced(i, boxAt(event)), { step });
    return { move, end: () => {} };
  };

  const edit = (what) => {
    if (!on || !what || !history[what]()) return false;
    show();
    const copy = copies(boxes());
    onPageChange?.(copy);
    onChange(copy);
    return true;
  };

  stage.addLayer({ layer, place });

  return {
    onPointerDown,
    edit,
    get isOn() {
      return on;
    },
    get boxes() {
      return copies(boxes());
    },
    start(options) {
      on = true;
      findings = options.findings;
      onPageChange = options.onChange;
      layer.classList.add("is-editable");
      panel.show(options);
      show();
    },
    set(next) {
      history.restart(next.map(wholeBox));
      selected = -1;
      show();
    },
    clear() {
      dragging?.abort();
      pending?.outline.remove();
      pending = null;
      history.restart([]);
      setDrawing(false);
    },
    toggleDrawing() {
      setDrawing(!drawing);
      return true;
    },
    // For the keyboard: a box a fifth as wide and high as the view, to be moved and resized with the arrows.
    addInMiddle() {
      const { width, height } = stage.canvas;
      const [from, to] = [0.4, 0.6].map((share) => stage.originalOf(width * share, height * share));
      addBox(cropped(boxBetween(from, to)));
      return true;
    },
  };
}

function copies(boxes) {
  return boxes.map((box) => ({ ...box }));
}

function boxBetween([x0, y0], [x1, y1]) {
  return { x: Math.min(x0, x1), y: Math.min(y0, y1), width: Math.abs(x1 - x0), height: Math.abs(y1 - y0) };
}

function wholeBox({ x, y, width, height, finding = "", confidence = null }) {
  const [left, top] = [Math.round(x), Math.round(y)];
  const size = [Math.round(x + width) - left, Math.round(y + height) - top].map((side) => Math.max(1, side));
  return { x: left, y: top, width: size[0], height: size[1], finding, confidence };
}

// The box in whole pixels, moved as little as needed to lie inside the film.
function movedInto(box, { rows, columns }) {
  const whole = wholeBox(box);
  const x = Math.max(0, Math.min(columns - whole.width, whole.x));
  const y = Math.max(0, Math.min(rows - whole.height, whole.y));
  return { ...whole, x, y };
}

// The part of the box inside the film, in whole pixels, at least one pixel wide and high.
function croppedTo(box, { rows, columns }) {
  const within = (value, most) => Math.min(most, Math.max(0, value));
  const [left, top] = [within(box.x, columns - 1), within(box.y, rows - 1)];
  const [right, bottom] = [within(box.x + box.width, columns), within(box.y + box.height, rows)];
  return wholeBox({ ...box, x: left, y: top, width: Math.max(1, right - left), height: Math.max(1, bottom - top) });
}
