// Time on a film: total time, and active time (the page in focus, with input within the last half minute).

const ACTIVE_AFTER_INPUT_MS = 30_000;
const INPUT = ["keydown", "pointermove", "pointerdown", "wheel"];

export function createClock({ now = () => performance.now(), target = window } = {}) {
  let active = 0;
  let total = 0;
  let last = now();
  let lastInput = now();
  let paused = true;
  let held = false; // whatever the reading page does meanwhile
  let focused = isInFocus();

  function settle() {
    const at = now();
    if (!paused && !held) {
      total += at - last;
      if (focused) active += Math.max(0, Math.min(at, lastInput + ACTIVE_AFTER_INPUT_MS) - last);
    }
    last = at;
  }

  function isInFocus() {
    return document.visibilityState === "visible" && document.hasFocus();
  }

  function follow() {
    settle();
    focused = isInFocus();
  }

  for (const name of INPUT) {
    target.addEventListener(
      name,
      () => {
        settle();
        focused = isInFocus();
        lastInput = now();
      },
      { capture: true, passive: true },
    );
  }
  for (const name of ["focus", "blur"]) target.addEventListener(name, follow);
  document.addEventListener("visibilitychange", follow);

  return {
    start({ activeSeconds = 0, totalSeconds = 0 } = {}) {
      last = now();
      active = activeSeconds * 1000;
      total = totalSeconds * 1000;
      paused = false;
    },
    pause() {
      settle();
      paused = true;
    },
    resume() {
      last = lastInput = now();
      paused = false;
    },
    // Between hold and release no time is counted.
    hold() {
      settle();
      held = true;
    },
    release() {
      settle();
      held = false;
      lastInput = last;
    },
    read() {
      settle();
      return { activeSeconds: Math.min(active, total) / 1000, totalSeconds: total / 1000 };
    },
  };
}
