// CRC-32 as in zip files (APPNOTE 4.4.7), which also tells a file from another of its name: crypto.subtle is missing where
// a page is not served by TLS.

const TABLE = new Uint32Array(256).map((_, n) => {
  for (let bit = 0; bit < 8; bit += 1) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});
const PIECE = 4 * 2 ** 20; // bytes in memory at a time

// Continues from `crc`, that of the bytes before.
export function crc32(bytes, crc = 0) {
  crc = ~crc;
  for (let at = 0; at < bytes.length; at += 1) crc = (crc >>> 8) ^ TABLE[(crc ^ bytes[at]) & 0xff];
  return ~crc >>> 0;
}

export async function crc32OfBlob(blob) {
  let crc = 0;
  for (let at = 0; at < blob.size; at += PIECE) {
    crc = crc32(new Uint8Array(await blob.slice(at, at + PIECE).arrayBuffer()), crc);
  }
  return crc;
}
