// A notice of the browser when a run ends while one of its pages is open, perhaps in another tab. Whoever wants it says so
// once; the choice is kept in this browser.

const KEPT = "hilum-notice";
const ALLOWED = "granted";
const button = document.getElementById("notice");

const wanted = () => localStorage.getItem(KEPT) === "yes" && Notification.permission === ALLOWED;

function show() {
  button.hidden = Notification.permission === "denied";
  button.setAttribute("aria-pressed", String(wanted()));
  button.textContent = wanted() ? "A notice is shown at the end" : "Show a notice at the end";
}

async function toggle() {
  const isOn = wanted();
  if (!isOn && Notification.permission !== ALLOWED) await Notification.requestPermission();
  localStorage.setItem(KEPT, isOn ? "no" : "yes");
  show();
}

// Not there on a page that was not loaded by HTTPS or from this machine.
if (button && "Notification" in window) {
  show();
  button.addEventListener("click", toggle);
  // The server names the end in the answer to the poll that sees it, before the page is left or loaded again.
  document.body.addEventListener("hilum:ended", (event) => {
    if (wanted()) new Notification(event.detail.title, { body: event.detail.body, icon: button.dataset.icon });
  });
}
