// The place that a person left in a grid: where it was scrolled to, the films that were ticked, and the film that was
// opened. It is kept in the tab, and taken up by the Back button and by the link from a film to its grid.

const KEPT = "hilum-place";
const LEFT = "#left-"; // begins the fragment of the way back; no element has it, so that the browser does not scroll to one

function address() {
  return location.pathname + location.search;
}

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT));
  } catch {
    return null;
  }
}

// `look()` returns the films of the page and those that are ticked.
export function keepPlace(look) {
  addEventListener("pagehide", () => {
    sessionStorage.setItem(KEPT, JSON.stringify({ ...look(), url: address(), scroll: scrollY }));
  });
}

function isBack() {
  const [navigation] = performance.getEntriesByType("navigation");
  return navigation?.type === "back_forward" || location.hash.startsWith(LEFT);
}

// The place, if this page is the one that was left and the person comes back to it.
export function keptPlace() {
  const place = read();
  if (!place || place.url !== address() || !isBack()) return null;
  return { ...place, film: location.hash.startsWith(LEFT) ? location.hash.slice(LEFT.length) : "" };
}

// The link from a film to its grid leads to the page of the grid that the person left, if the film is on it.
export function leadBack() {
  const link = document.querySelector("a[data-grid]");
  const place = read();
  if (!link || !place?.films?.includes(link.dataset.grid)) return;
  if (new URL(link.href).pathname !== place.url.split("?")[0]) return;
  link.href = `${place.url}${LEFT}${link.dataset.grid}`;
}
