// Files as one zip, without compression, of which any part can be read: nothing but that part is ever in memory, and the
// same files are the same bytes on another day. Sizes are written as ZIP64 throughout, and checksums after the data, so
// that the length of everything is known before a file has been read.

import { crc32OfBlob } from "./crc32.js";

const UTF8_AND_LATER_SIZES = 0x0808; // flags of APPNOTE 4.4.4: names in UTF-8; sizes and checksum follow the data
const VERSION = 45; // ZIP64
const DAY_ONE = 0x21; // 1980-01-01
const MANY = 0xffffffff; // "see the ZIP64 field"
const LOCAL = 30 + 20;
const AFTER = 24;
const CENTRAL = 46 + 28;
const END = 56 + 20 + 22;

export class PackedZip {
  #files; // { file, name, at }
  #directoryAt;
  #directory = null;
  #crcs = new Map();

  // `files`: [{ path, file }], in the same order on every day.
  constructor(files) {
    const encoder = new TextEncoder();
    let at = 0;
    let names = 0;
    this.#files = files.map(({ path, file }) => {
      const name = encoder.encode(path);
      const placed = { file, name, at };
      at += LOCAL + name.length + file.size + AFTER;
      names += name.length;
      return placed;
    });
    this.#directoryAt = at;
    this.size = at + this.#files.length * CENTRAL + names + END;
  }

  // A Blob of these bytes; the files' own are read by the browser when it sends them.
  async read(start, length) {
    const end = Math.min(this.size, start + length);
    const parts = [];
    const add = (part, at) => {
      const size = part.size ?? part.length;
      if (at < end && at + size > start) parts.push(part.slice(Math.max(0, start - at), end - at));
    };
    for (let index = this.#fileAt(start); index < this.#files.length && this.#files[index].at < end; index += 1) {
      const { file, name, at } = this.#files[index];
      const dataAt = at + LOCAL + name.length;
      add(localHeader(name), at);
      add(file, dataAt);
      const afterAt = dataAt + file.size;
      if (afterAt < end && afterAt + AFTER > start) add(descriptor(await this.#crc(index), file.size), afterAt);
    }
    if (end > this.#directoryAt) add(await this.#makeDirectory(), this.#directoryAt);
    return new Blob(parts);
  }

  #fileAt(offset) {
    let low = 0;
    let high = this.#files.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#files[middle].at <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  async #crc(index) {
    if (!this.#crcs.has(index)) this.#crcs.set(index, await crc32OfBlob(this.#files[index].file));
    return this.#crcs.get(index);
  }

  async #makeDirectory() {
    if (this.#directory) return this.#directory;
    const bytes = new Fields(this.size - this.#directoryAt);
    for (let index = 0; index < this.#files.length; index += 1) {
      const { file, name, at } = this.#files[index];
      bytes.u32(0x02014b50).u16(VERSION).u16(VERSION).u16(UTF8_AND_LATER_SIZES).u16(0).u16(0).u16(DAY_ONE);
      bytes.u32(await this.#crc(index)).u32(MANY).u32(MANY).u16(name.length).u16(28).u16(0).u16(0).u16(0).u32(0).u32(MANY);
      bytes.bytes(name).u16(1).u16(24).u64(file.size).u64(file.size).u64(at);
    }
    const size = bytes.at;
    const endAt = this.#directoryAt + size;
    const count = this.#files.length;
    bytes.u32(0x06064b50).u64(44).u16(VERSION).u16(VERSION).u32(0).u32(0).u64(count).u64(count).u64(size).u64(this.#directoryAt);
    bytes.u32(0x07064b50).u32(0).u64(endAt).u32(1);
    bytes.u32(0x06054b50).u16(0).u16(0).u16(0xffff).u16(0xffff).u32(MANY).u32(MANY).u16(0);
    this.#directory = bytes.array;
    return this.#directory;
  }
}

function localHeader(name) {
  const bytes = new Fields(LOCAL + name.length);
  bytes.u32(0x04034b50).u16(VERSION).u16(UTF8_AND_LATER_SIZES).u16(0).u16(0).u16(DAY_ONE).u32(0).u32(MANY).u32(MANY);
  bytes.u16(name.length).u16(20).bytes(name).u16(1).u16(16).u64(0).u64(0);
  return bytes.array;
}

function descriptor(crc, size) {
  return new Fields(AFTER).u32(0x08074b50).u32(crc).u64(size).u64(size).array;
}

// Little-endian numbers, one after the other.
class Fields {
  at = 0;

  constructor(size) {
    this.array = new Uint8Array(size);
    this.view = new DataView(this.array.buffer);
  }

  u16(value) {
    this.view.setUint16(this.at, value, true);
    this.at += 2;
    return this;
  }

  u32(value) {
    this.view.setUint32(this.at, value, true);
    this.at += 4;
    return this;
  }

  u64(value) {
    this.view.setBigUint64(this.at, BigInt(value), true);
    this.at += 8;
    return this;
  }

  bytes(array) {
    this.array.set(array, this.at);
    this.at += array.length;
    return this;
  }
}
