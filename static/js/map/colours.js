// Colours and shapes of points: labels have theirs everywhere, other values take Okabe and Ito's, numbers cividis.

const OKABE_ITO = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#f0e442"];
const GREY = "#8b9296";
const PLAIN = new Set(["unknown", "unlabelled", "in no part", "not in a pair to judge", "other"]);
const LABEL_SHAPES = { normal: 0, abnormal: 1, unsure: 2, exclude: 4, unresolved: 3, unlabelled: 0 };
const SHAPE_SIGNS = ["●", "▲", "◆", "■", "✕"];
// ten steps of cividis
const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];

const rgbOf = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

function cssColour(name) {
  const value = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return /^#[0-9a-f]{6}$/i.test(value) ? value : GREY;
}

// One entry of the legend for each name: { name, colour, shape, sign, count }.
export function legendOf(by, names, counts) {
  let coloured = 0;
  return names.map((name, place) => {
    let colour = GREY;
    let shape = 0;
    if (by === "label" && name in LABEL_SHAPES) {
      colour = name === "unlabelled" ? GREY : cssColour(`--hilum-${name}`);
      shape = LABEL_SHAPES[name];
    } else if (!PLAIN.has(name)) {
      colour = OKABE_ITO[coloured % OKABE_ITO.length];
      shape = Math.floor(coloured / OKABE_ITO.length) % SHAPE_SIGNS.length;
      coloured += 1;
    }
    return { name, colour, shape, sign: SHAPE_SIGNS[shape], count: counts[place] };
  });
}

export function paintByNames(legend, values) {
  const colours = new Uint8Array(3 * values.length);
  const shapes = new Uint8Array(values.length);
  const rgb = legend.map(({ colour }) => rgbOf(colour));
  values.forEach((value, k) => {
    colours.set(rgb[value], 3 * k);
    shapes[k] = legend[value].shape;
  });
  return { colours, shapes };
}

// The scale runs between the 2nd and the 98th percentile, so that single films do not flatten it.
export function scaleOf(numbers) {
  const sorted = numbers.filter((number) => number !== null).sort((a, b) => a - b);
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  return sorted.length ? { low: at(0.02), high: at(0.98), count: sorted.length } : { low: 0, high: 1, count: 0 };
}

export function colourOfNumber(number, { low, high }) {
  if (number === null) return GREY;
  const share = Math.min(1, Math.max(0, (number - low) / (high - low || 1)));
  const place = share * (CIVIDIS.length - 1);
  const [first, second] = [rgbOf(CIVIDIS[Math.floor(place)]), rgbOf(CIVIDIS[Math.ceil(place)])];
  const mixed = first.map((value, at) => Math.round(value + (second[at] - value) * (place % 1)));
  return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

export function paintByNumbers(numbers, scale) {
  const colours = new Uint8Array(3 * numbers.length);
  numbers.forEach((number, k) => colours.set(rgbOf(colourOfNumber(number, scale)), 3 * k));
  return { colours, shapes: new Uint8Array(numbers.length) };
}

export function paintPlain(count) {
  const colours = new Uint8Array(3 * count);
  const rgb = rgbOf(OKABE_ITO[0]);
  for (let k = 0; k < count; k++) colours.set(rgb, 3 * k);
  return { colours, shapes: new Uint8Array(count) };
}
