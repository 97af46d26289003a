// The page of a dataset: sends the chosen files in parts, and continues uploads that an earlier page left unfinished. Without
// this module the form sends a zip in one request.

import { csrf } from "./labelling/server.js";
import { ChosenFiles } from "./upload/chosen_files.js";
import { droppedFiles } from "./upload/dropped_files.js";
import { announce, discard, send } from "./upload/tus.js";

const UNITS = [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]];
const REFUSED = "text-danger-emphasis";
const PASSING = "text-warning-emphasis";
const BYTES_TO_JUDGE_SPEED = 2 ** 22;

const form = document.getElementById("add-films");
const list = document.getElementById("sendings");
const inputs = form ? [...form.querySelectorAll("input[type=file]")] : [];

function prepare() {
  for (const element of document.querySelectorAll("[data-with-script]")) element.hidden = false;
  const [input] = inputs;
  input.multiple = true;
  input.required = false;
  input.removeAttribute("accept"); // DICOM files often have no ending
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = inputs.filter((one) => one.files.length).map((one) => new ChosenFiles(one.files));
    inputs.forEach((one) => one.setCustomValidity(""));
    if (!chosen.length) {
      input.setCustomValidity("Choose a zip, films, a table or a folder.");
      input.reportValidity();
      return;
    }
    chosen.forEach(begin);
    form.reset();
  });
  for (const one of inputs) one.addEventListener("change", () => input.setCustomValidity(""));
  takeDrops();
  for (const one of list.querySelectorAll("[data-resume]")) one.addEventListener("change", () => goOn(one));
  list.dataset.ready = "";
}

// Files and folders may be dropped anywhere on the page; without this a browser would leave it to show the file.
function takeDrops() {
  const isOver = (yes) => form.classList.toggle("is-target", yes);
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    form.closest("details").open = true;
    isOver(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) isOver(false); // it left the window
  });
  document.addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    isOver(false);
    const files = await droppedFiles(event.dataTransfer);
    if (files.length) begin(new ChosenFiles(files));
  });
}

async function begin(files) {
  const { patients, check_columns: check, source, views, children } = form.elements; // before the form is reset
  const ofSource = { source: source.value, views: views.value, ...(children.checked && { children: "yes" }) };
  const choices = { patients: patients.value, ...(check.checked && { check_columns: "yes" }), ...(source.value && ofSource) };
  const row = document.getElementById("sending-row").content.firstElementChild.cloneNode(true);
  row.querySelector("[data-words]").textContent = `${files.name}, ${sizeOf(files.size)}`;
  list.append(row);
  const line = new Line(row, files.size);
  line.say("preparing");
  try {
    const metadata = { ...choices, fingerprint: await files.fingerprint() };
    if (files.isZip) metadata.filename = "films.zip"; // names of files may be names of patients
    else metadata.files = files.count;
    if (files.isFolder) metadata.folder = "yes";
    row.dataset.url = await announce(form.dataset.announceUrl, files.size, metadata, csrf);
  } catch (error) {
    line.refuse(error);
    return;
  }
  await sendAll(row, line, files);
}

// Continues the upload of a row that the server listed, if these are the same files.
async function goOn(input) {
  const row = input.closest(".hilum-sending");
  if (!input.files.length) return;
  const files = new ChosenFiles(input.files);
  const line = new Line(row, files.size);
  line.say("comparing with what has been sent");
  try {
    if ((await files.fingerprint()) !== row.dataset.fingerprint) {
      const words = row.querySelector("[data-words]").textContent;
      line.say(`${files.name} (${sizeOf(files.size)}) is not what was begun (${words}); choose that again, or discard it.`, REFUSED);
      input.value = "";
      return;
    }
  } catch (error) {
    line.refuse(error);
    return;
  }
  for (const element of row.querySelectorAll("[data-with-script]")) element.remove();
  await sendAll(row, line, files);
}

async function sendAll(row, line, files) {
  const stop = new AbortController();
  row.querySelector("[data-discard]")?.addEventListener("click", async () => {
    if (!window.confirm("Discard this upload? What has been sent is deleted.")) return;
    stop.abort();
    await discard(row.dataset.url, csrf).catch(() => {}); // the server removes it after a day
    row.remove();
  });
  try {
    const imported = await send(row.dataset.url, files, {
      csrf,
      signal: stop.signal,
      onProgress: (bytes) => line.progress(bytes),
      onCut: (isCut) => line.cut(isCut),
    });
    document.getElementById("evaluate-set")?.removeAttribute("hidden"); // it waits for the import
    await window.htmx.ajax("GET", form.dataset.importUrl.replace(/[0-9a-f-]{36}/, imported), { target: row, swap: "innerHTML" });
  } catch (error) {
    if (error.name !== "AbortError") line.refuse(error);
  }
}

// The words and the bar of an upload.
class Line {
  #began = null; // { ms, bytes } of this connection

  constructor(row, size) {
    this.row = row;
    this.size = size;
    this.state = row.querySelector("[data-state]");
    this.bar = row.querySelector("progress");
    this.bar.max = size;
  }

  say(words, tone = "") {
    this.state.classList.remove("text-danger-emphasis", "text-warning-emphasis");
    if (tone) this.state.classList.add(tone);
    if (this.state.textContent !== words) this.state.textContent = words;
  }

  progress(bytes) {
    const now = performance.now();
    this.#began ??= { ms: now, bytes };
    this.bar.value = bytes;
    const sent = bytes - this.#began.bytes;
    const seconds = ((now - this.#began.ms) / 1000) * ((this.size - bytes) / sent);
    const left = sent > BYTES_TO_JUDGE_SPEED ? `, ${timeOf(seconds)} left` : "";
    this.say(`${sizeOf(bytes)} of ${sizeOf(this.size)} sent${left}`);
    this.row.dataset.sent = bytes;
  }

  cut(isCut) {
    if (!isCut) return;
    this.#began = null;
    this.say("The connection is cut; trying again. What has been sent is kept.", PASSING);
  }

  refuse(error) {
    const again = [401, 403].includes(error.status) ? " Reload this page, then choose the same files again." : "";
    this.say(`${error.message}${again}`, REFUSED);
  }
}

function sizeOf(bytes) {
  const [unit, size] = UNITS.find(([, least]) => bytes >= least) ?? UNITS.at(-1);
  return `${(bytes / size).toFixed(1)} ${unit}`;
}

function timeOf(seconds) {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
}

if (form) prepare();
