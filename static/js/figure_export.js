// Each figure as SVG, PNG and CSV: a row of buttons under it. Pictures have a white background, in any theme.

// Width of a picture in pixels; `data-export-width` of a figure overrides it.
const WIDTH = 640;
const SQUARE_WIDTH = 520;
const PNG_SCALE = 2;

// The colours of analysis/figures/palette.py on dark paper -> on white. Each colour has one meaning, so each has one
// counterpart.
export const LIGHT_OF_DARK = {
  "#0e0f10": "#ffffff",
  "#d6d8d9": "#212529",
  "#9aa0a4": "#5c636a",
  "#25292b": "#e6e9ec",
  "#4a5053": "#adb5bd",
  "#56b4e9": "#0072b2",
  "#f0883e": "#d55e00",
  "#9a9a9a": "#7a7a7a",
  "#f0e442": "#b8a000",
  "#f2f2f2": "#000000",
  "#00b383": "#009e73",
  "#f0e443": "#8a6d00",
  "#56b4ea": "#56b4e9",
};

const asDrawn = new WeakMap(); // figure -> its layout before Plotly fits it to the page, which it does in place

// Figure and row get a box of their own: Plotly takes the height of its element for that of the plot.
export function addExports(figure, layout, filename) {
  asDrawn.set(figure, structuredClone(layout));
  let row = figure.nextElementSibling?.matches(".hilum-exports") ? figure.nextElementSibling : null;
  if (!row) {
    row = document.createElement("div");
    row.className = "hilum-exports";
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", `Export: ${figure.getAttribute("aria-label") || figure.id}`);
    for (const format of ["svg", "png"]) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: format.toUpperCase() });
      button.addEventListener("click", () => savePicture(figure, format, row.dataset.filename));
      row.append(button);
    }
    row.append(csvOf(figure, row));
    const box = Object.assign(document.createElement("div"), { className: "hilum-plot" });
    figure.replaceWith(box);
    box.append(figure, row);
  }
  row.dataset.filename = filename;
  const link = row.querySelector("a");
  if (link) link.href = csvAddress(figure);
}

// The server exports the numbers in full precision; if it has no CSV for a figure, the drawn numbers are exported.
function csvOf(figure, row) {
  if (figure.dataset.csvUrl) {
    const title = "The numbers of this figure in full precision";
    return Object.assign(document.createElement("a"), { textContent: "CSV", href: csvAddress(figure), title });
  }
  const title = "The numbers of this figure as they are drawn";
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "CSV", title });
  button.addEventListener("click", () => {
    save(new Blob([csvOfTraces(figure)], { type: "text/csv" }), `${row.dataset.filename}.csv`);
  });
  return button;
}

// `data-csv-query` of the figure or of an ancestor is the query that the figure was drawn with, such as weight=0.25.
function csvAddress(figure) {
  const address = new URL(figure.dataset.csvUrl, window.location.href);
  const query = figure.closest("[data-csv-query]")?.dataset.csvQuery ?? "";
  for (const [name, value] of new URLSearchParams(query)) address.searchParams.set(name, value);
  return address.href;
}

async function savePicture(figure, format, filename) {
  const size = { width: widthOf(figure), height: asDrawn.get(figure).height ?? figure.clientHeight };
  const { data, layout } = onWhite(figure.data, { ...asDrawn.get(figure), ...size, shapes: figure.layout.shapes });
  const picture = await Plotly.toImage({ data, layout }, { format, ...size, scale: format === "png" ? PNG_SCALE : 1 });
  save(blobOf(picture), `${filename}.${format}`);
}

// Independent of the window's width, so that a figure exported twice is the same.
function widthOf(figure) {
  if (figure.dataset.exportWidth) return Number(figure.dataset.exportWidth);
  return asDrawn.get(figure).yaxis?.scaleanchor ? SQUARE_WIDTH : WIDTH;
}

// Decoded here, since the content security policy allows fetch from the own server only, not from a data URL.
function blobOf(address) {
  const [head, body] = [address.slice(0, address.indexOf(",")), address.slice(address.indexOf(",") + 1)];
  const type = head.slice("data:".length).split(";")[0];
  if (!head.endsWith(";base64")) return new Blob([decodeURIComponent(body)], { type });
  return new Blob([Uint8Array.from(atob(body), (char) => char.charCodeAt(0))], { type });
}

export function onWhite(data, layout) {
  const isDark = recoloured(layout.paper_bgcolor) !== layout.paper_bgcolor;
  return isDark ? recoloured({ data, layout }) : { data, layout };
}

function recoloured(value) {
  if (typeof value === "string") return recolour(value);
  if (Array.isArray(value)) return value.map(recoloured);
  if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inside]) => [key, recoloured(inside)]));
}

function recolour(text) {
  const known = LIGHT_OF_DARK[text.toLowerCase()];
  if (known) return known;
  const parts = text.match(/^(rgba?)\((\d+),\s*(\d+),\s*(\d+)(.*)\)$/);
  if (!parts) return text;
  const hex = "#" + parts.slice(2, 5).map((part) => Number(part).toString(16).padStart(2, "0")).join("");
  const light = LIGHT_OF_DARK[hex];
  if (!light) return text;
  const rgb = [1, 3, 5].map((i) => parseInt(light.slice(i, i + 2), 16));
  return `${parts[1]}(${rgb.join(", ")}${parts[5]})`;
}

function save(blob, filename) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: filename });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function csvOfTraces({ data, layout }) {
  const head = ["series", titleOf(layout, "x"), titleOf(layout, "y"), "low", "high", "value", "text", "film", "notice"];
  const notice = (layout.annotations ?? [])
    .map(({ text }) => text.replace(/<[^>]*>/g, " ").trim())
    .filter((text) => /Research use only|random weights/.test(text))
    .join(". ");
  const rows = data.flatMap((trace) => rowsOf(trace).map((row) => [nameOf(trace), ...row, notice]));
  return [head, ...rows].map((row) => row.map(cell).join(",") + "\r\n").join("");
}

function rowsOf(trace) {
  if (trace.z) {
    return trace.z.flatMap((line, r) =>
      line.map((value, c) => [trace.x?.[c] ?? c, trace.y?.[r] ?? r, "", "", value, trace.text?.[r]?.[c] ?? "", ""]),
    );
  }
  const points = trace.x ?? trace.y ?? [];
  return points.map((_, k) => {
    const text = Array.isArray(trace.text) ? trace.text[k] : "";
    const film = typeof trace.customdata?.[k] === "string" ? trace.customdata[k] : "";
    return [trace.x?.[k], trace.y?.[k], ...reach(trace, k), "", text, film];
  });
}

function reach(trace, k) {
  for (const [bars, middle] of [[trace.error_x, trace.x], [trace.error_y, trace.y]]) {
    if (!bars?.array) continue;
    const below = bars.symmetric === false ? bars.arrayminus : bars.array;
    return [middle[k] - below[k], middle[k] + bars.array[k]];
  }
  return ["", ""];
}

const plain = (html) => html.replace(/<[^>]*>/g, " ").trim();
const nameOf = (trace) => plain(trace.name ?? "");

function titleOf(layout, axis) {
  const title = layout[`${axis}axis`]?.title;
  return plain((typeof title === "string" ? title : title?.text) ?? "") || axis;
}

// A text that a spreadsheet would interpret as a formula gets an apostrophe, as in the server's exports.
function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
