// What every page may use. Pages that need more load their own module.

for (const form of document.querySelectorAll("form[data-submit-on-change]")) {
  form.addEventListener("change", () => form.requestSubmit());
}

for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (!window.confirm(form.dataset.confirm)) event.preventDefault();
  });
}

export function localTime(moment) {
  const pad = (n) => String(n).padStart(2, "0");
  return (
    `${moment.getFullYear()}-${pad(moment.getMonth() + 1)}-${pad(moment.getDate())} ` +
    `${pad(moment.getHours())}:${pad(moment.getMinutes())}`
  );
}

// Times stand in the page as ISO with zone; the reader sees local time, and the zone on hover.
export function localTimes(root = document) {
  for (const element of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.valueOf())) continue;
    element.textContent = localTime(moment);
    element.title = `${element.dateTime} (${Intl.DateTimeFormat().resolvedOptions().timeZone})`;
    element.dataset.local = "1";
  }
}
localTimes();
document.body.addEventListener("htmx:afterSwap", (event) => localTimes(event.target));
