// The keys of the alignment boards. The table that `?` shows is made from this list.

export const KEYS = [
  { keys: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"], shown: "Arrows", help: "Shift the film by a step" },
  { keys: ["[", "]"], shown: "[ ]", help: "Rotate, counter-clockwise and clockwise" },
  { keys: ["-", "+", "="], shown: "- +", help: "Smaller, larger" },
  { keys: ["<", ">"], shown: "< >", help: "Narrower, wider" },
  { keys: [",", "."], shown: ", .", help: "Shear, to the left and to the right" },
  { keys: ["j", "l"], shown: "J L", help: "Perspective across", only: "canonical" },
  { keys: ["i", "k"], shown: "I K", help: "Perspective up and down", only: "canonical" },
  { keys: ["1", "2", "3"], shown: "1 2 3", help: "Fine, usual and coarse steps" },
  { keys: ["z"], shown: "Z", help: "Undo the last change" },
  { keys: ["r"], shown: "R", help: "Back to where the film started" },
  { keys: ["b"], shown: "B", help: "Blend of film and canonical image" },
  { keys: ["d"], shown: "D", help: "Difference of the two, gray where they agree" },
  { keys: ["c"], shown: "C", help: "Film red, canonical image cyan" },
  { keys: ["f"], shown: "F", help: "Flicker between the two" },
  { keys: ["v"], shown: "V", help: "Variance of the stack", only: "canonical" },
  { keys: ["m"], shown: "M", help: "Mark landmarks, or stop marking", only: "canonical" },
  { keys: ["o"], shown: "O", help: "The film as it was before, and after", only: "outcome" },
  { keys: ["a"], shown: "A", help: "Accept the place", only: "outcome" },
  { keys: ["Enter"], shown: "Enter", help: "Save the place, and go to the next film" },
  { keys: ["x"], shown: "X", help: "Leave the film out, and go to the next" },
  { keys: ["n", "p"], shown: "N P", help: "The next and the previous film" },
  { keys: ["?"], shown: "?", help: "List the keys" },
];

export function isTyping(target) {
  return Boolean(target.closest?.("input:not([type=radio]):not([type=range]), textarea, select, dialog"));
}

export function fillTable(body, mode) {
  for (const { shown, help, only } of KEYS) {
    if (only && only !== mode) continue;
    const row = body.insertRow();
    const key = row.insertCell();
    for (const part of shown.split(" ")) {
      const box = key.appendChild(document.createElement("kbd"));
      box.textContent = part;
      key.append(" ");
    }
    row.insertCell().textContent = help;
  }
}
