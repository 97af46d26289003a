// The form of a run: of the fitted alignments, only those of the chosen split can be chosen. The server refuses others.

const form = document.getElementById("run-form");
const { split, alignment } = form.elements;

function showOwn() {
  for (const option of alignment.querySelectorAll("[data-split]")) {
    option.hidden = option.disabled = option.dataset.split !== split.value;
  }
  if (alignment.selectedOptions[0]?.disabled) alignment.selectedIndex = 0;
}

if (split && alignment) {
  split.addEventListener("change", showOwn);
  showOwn();
}
