// Pointer and wheel on the stage, in device pixels.

const WHEEL_STEP = 1.0015;

export function listenToPointers(stage, { deviceAt, claims, onDragStart, onDrag, onZoom, onHover, onLeave }) {
  const pointers = new Map();

  stage.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button") || (event.button === 0 && !pointers.size && claims(event))) return;
    // Capture continues a drag that leaves the stage; a pointer that is already up cannot be captured.
    try {
      stage.setPointerCapture(event.pointerId);
    } catch {}
    pointers.set(event.pointerId, position(event));
    if (pointers.size === 1) onDragStart({ windowing: event.button !== 0 });
  });

  stage.addEventListener("pointermove", (event) => {
    onHover(event);
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = position(event);
    if (pointers.size === 1) onDrag(now.clientX - before.clientX, now.clientY - before.clientY);
    if (pointers.size === 2) pinch(pointers, event.pointerId, now);
    pointers.set(event.pointerId, now);
  });

  const pinch = (all, moved, now) => {
    const [otherId] = [...all.keys()].filter((id) => id !== moved);
    const [other, before] = [all.get(otherId), all.get(moved)];
    const middle = { clientX: (other.clientX + now.clientX) / 2, clientY: (other.clientY + now.clientY) / 2 };
    const factor = distance(other, now) / (distance(other, before) || 1);
    onZoom(factor || 1, deviceAt(middle));
  };

  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
    stage.addEventListener(name, (event) => pointers.delete(event.pointerId));
  }
  stage.addEventListener("pointerleave", onLeave);
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
  // The middle button would start the browser's own scrolling.
  stage.addEventListener("mousedown", (event) => event.button === 1 && event.preventDefault());
  stage.addEventListener("wheel", (event) => onWheel(event, deviceAt, onZoom), { passive: false });
}

function onWheel(event, deviceAt, onZoom) {
  event.preventDefault();
  const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1;
  onZoom(WHEEL_STEP ** (-event.deltaY * lines), deviceAt(event));
}

function position({ clientX, clientY }) {
  return { clientX, clientY };
}

function distance(a, b) {
  return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
}
