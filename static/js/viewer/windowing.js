// Window and inversion: presets, dragging, and what is kept from film to film.

import { fillChoices } from "./controls.js";
import { isInverted } from "./pixels.js";
import { chosenAgain, equivalentWindow, ownWindow, relativeWindow } from "./presets.js";

const DRAG_PX = 150; // sideways distance that doubles the width

export function createWindowing({ stage, select, onChange }) {
  let wanted = null; // the reader's choice, for the next films
  let sticky = false; // switched on with the button
  let held = false; // while the key is down
  let dragging = false; // while the right mouse button drags

  const set = (voi) => {
    const { choices } = stage.film;
    wanted = voi.kind === "own" ? { relative: relativeWindow(voi, choices) } : { kind: voi.kind, name: voi.name };
    stage.setVoi(voi);
    fillChoices(select, choices, voi);
    onChange();
  };

  const invert = (inverted) => {
    stage.setInverted(inverted);
    onChange();
  };

  // Sideways widens; up is brighter on screen, whichever way the film is inverted.
  const drag = (dx, dy) => {
    const { film, voi, inverted } = stage;
    const { center, width, voiFunction } = equivalentWindow(voi, film.facts);
    const darker = isInverted(film.facts, inverted) ? -1 : 1;
    const moved = center + (darker * dy * width) / (2 * DRAG_PX);
    set(ownWindow({ center: moved, width: width * 2 ** (dx / DRAG_PX), voiFunction }));
  };

  select.addEventListener("change", () => set(stage.film.choices.find(({ name }) => name === select.value) ?? stage.voi));

  return {
    get isOn() {
      return sticky || held;
    },
    get wanted() {
      return wanted;
    },
    // Window and inversion with which a film is first shown.
    shownAs: (film) => ({ voi: chosenAgain(film.choices, wanted), inverted: stage.inverted }),
    toggle: () => (sticky = !sticky),
    setHeld: (next) => (held = next),
    setDragging: (next) => (dragging = next),
    // Returns true if the drag changed the window.
    drag(dx, dy) {
      if (!stage.view || !(sticky || held || dragging)) return false;
      drag(dx, dy);
      return true;
    },
    preset: (kind) => set(stage.film.choices.find((choice) => choice.kind === kind)),
    invert: () => invert(!stage.inverted),
    reset() {
      invert(false);
      set(stage.film.choices[0]);
      wanted = null;
    },
  };
}
