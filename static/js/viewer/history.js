// Undo and redo. Consecutive changes of the same `step` count as one: a drag, or a key that is pressed repeatedly.

export function createHistory(first) {
  let now = first;
  let past = [];
  let future = [];
  let step = null;

  const move = (from, to) => {
    if (!from.length) return false;
    to.push(now);
    now = from.pop();
    step = null;
    return true;
  };

  return {
    get now() {
      return now;
    },
    get canUndo() {
      return past.length > 0;
    },
    get canRedo() {
      return future.length > 0;
    },
    push(next, of = null) {
      if (of === null || of !== step) past.push(now);
      now = next;
      step = of;
      future = [];
    },
    undo: () => move(past, future),
    redo: () => move(future, past),
    restart(next) {
      now = next;
      past = [];
      future = [];
      step = null;
    },
  };
}
