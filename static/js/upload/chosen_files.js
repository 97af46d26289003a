// What a person chose to send: a zip as it is, anything else packed into one.

import { crc32, crc32OfBlob } from "./crc32.js";
import { PackedZip } from "./packed_zip.js";

const END = 2 ** 20; // bytes of the beginning and the end that a fingerprint looks at

export class ChosenFiles {
  #source;
  #files;

  // `files` are those of an input, or { path, file } of a drop.
  constructor(files) {
    this.#files = [...files].map((one) => (one.path ? one : { path: one.webkitRelativePath || one.name, file: one }));
    this.#files.sort((a, b) => (a.path < b.path ? -1 : Number(a.path > b.path)));
    const [first] = this.#files;
    this.isZip = this.#files.length === 1 && first.path.toLowerCase().endsWith(".zip");
    const folders = new Set(this.#files.map(({ path }) => (path.includes("/") ? path.split("/")[0] : "")));
    this.isFolder = folders.size === 1 && !folders.has("");
    this.count = this.#files.length;
    this.name = this.isFolder ? first.path.split("/")[0] : this.count === 1 ? first.path : `${this.count} files`;
    this.#source = this.isZip ? null : new PackedZip(this.#files);
    this.size = this.isZip ? first.file.size : this.#source.size;
  }

  // A Blob of these bytes of what is sent.
  async read(start, length) {
    return this.#source ? this.#source.read(start, length) : this.#files[0].file.slice(start, start + length);
  }

  // Tells these files from others of the same names, by sizes, times, and the bytes at both ends. The names themselves
  // cannot be read from it.
  async fingerprint() {
    const list = this.#source ? this.#files.map(({ path, file }) => [path, file.size, file.lastModified]) : [];
    const listed = crc32(new TextEncoder().encode(JSON.stringify(list)));
    const firstBytes = this.#files[0].file.slice(0, END);
    const last = this.#files.at(-1).file;
    const ends = [await crc32OfBlob(firstBytes), await crc32OfBlob(last.slice(Math.max(0, last.size - END)))];
    return [this.size, listed, ...ends].map((number) => number.toString(16)).join("-");
  }
}
