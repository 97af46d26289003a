// Perceptually uniform and safe for colour-blind readers. Each map is 33 evenly spaced stops (hex RGB) of
// the published 256-entry tables: cividis (Nuñez, Anderton & Renslow 2018), inferno (Smith & van der Walt 2015).

const STOPS = {
  cividis:
    "00224e00285b002e6a0433711a386f273e6e32436d3b496c434e6c4b546c52596d5a5f6e61656f686a716f7073757676" +
    "7c7b788481798b8778938d789b9376a39a75aba072b3a670bbad6cc3b469ccba64d4c15fddc958e6d051efd748f8df3c" +
    "fee838",
  inferno:
    "0000040403120b0724150b37210c4a2e0a5a3c09654a0c6b57106d63146e70196e7d1e6d89226a962766a32b61af315c" +
    "bb3755c63e4dd14644db4f3be35932eb6528f1711ef67f14f98d0afb9c06fcab0ffbba1ff9ca32f5d949f2e865f3f586" +
    "fcffa4",
};

export const COLORMAPS = Object.keys(STOPS);

// 256 RGBA entries, opaque.
export function colormapTable(name) {
  const hex = STOPS[name] ?? STOPS.cividis;
  const last = hex.length / 6 - 1;
  const table = new Uint8ClampedArray(256 * 4);
  for (let i = 0; i < 256; i++) {
    const position = (i / 255) * last;
    const lower = Math.min(last - 1, Math.floor(position));
    for (let channel = 0; channel < 3; channel++) {
      const [from, to] = [lower, lower + 1].map((stop) => parseInt(hex.substr(stop * 6 + channel * 2, 2), 16));
      table[i * 4 + channel] = from + (to - from) * (position - lower);
    }
    table[i * 4 + 3] = 255;
  }
  return table;
}
