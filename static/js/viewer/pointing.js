// The pointer on the film: which tool takes a press, what a drag moves, and the value under the pointer.

import { tidyNumber } from "./dom.js";
import { listenToPointers } from "./gestures.js";

const CLICK_PX = 3;

export function listenToFilm({ stage, text, windowing, measuring, editor, nearest, overlaying }) {
  // A click without a drag; a drag still moves the film.
  const pickOnClick = (start) => {
    const click = (end) => {
      const moved = Math.hypot(end.clientX - start.clientX, end.clientY - start.clientY);
      if (moved < CLICK_PX && stage.view && end.pointerId === start.pointerId) nearest.pick(end);
    };
    window.addEventListener("pointerup", click, { once: true });
  };

  const claims = (event) => {
    if (!stage.view) return false;
    const claimed = measuring.onPointerDown(event) || editor.onPointerDown(event);
    if (!claimed && nearest.isOn) pickOnClick(event);
    return claimed;
  };

  // A hidden heatmap stays hidden here too.
  const pointSentence = (x, y) => {
    const { columns, pixels, modality } = stage.film;
    const value = `x ${x}, y ${y}, value ${tidyNumber(modality[pixels[y * columns + x]])}`;
    const heat = overlaying.heat() ? overlaying.fusedAt(x + 0.5, y + 0.5) : NaN;
    return Number.isNaN(heat) ? value : `${value}, fused ${tidyNumber(heat)}`;
  };

  listenToPointers(stage.element, {
    deviceAt: (event) => stage.deviceAt(event),
    claims,
    onDragStart: ({ windowing: isWindowing }) => windowing.setDragging(isWindowing),
    onDrag: (dx, dy) => windowing.drag(dx, dy) || stage.pan(dx, dy),
    onZoom: (factor, [x, y]) => stage.zoomAt(factor, x, y),
    onHover(event) {
      if (!stage.view) return;
      const [x, y] = stage.originalAt(event).map(Math.floor);
      const inside = x >= 0 && y >= 0 && x < stage.film.columns && y < stage.film.rows;
      text.textContent = inside ? pointSentence(x, y) : "";
    },
    onLeave: () => (text.textContent = ""),
  });
}
