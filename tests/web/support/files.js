/** Files that the tests read, and what they hold. */

import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../../../", import.meta.url);

/** @param {string} path in the repository */
export function read(path) {
  return new Uint8Array(readFileSync(new URL(path, ROOT)));
}

/**
 * Return the names of the files in a folder of the repository, without their ending.
 * @param {string} path
 * @param {string} ending
 */
export function names(path, ending) {
  return readdirSync(new URL(path, ROOT))
    .filter((name) => name.endsWith(ending))
    .map((name) => name.slice(0, -ending.length))
    .sort();
}

/** @param {string} path in the repository */
export function pathOf(path) {
  return fileURLToPath(new URL(path, ROOT));
}

/**
 * Return an int32 array of numpy.
 * @param {Uint8Array} bytes of an .npy file
 */
export function readNpy(bytes) {
  const size = bytes[8] + 256 * bytes[9];
  const header = new TextDecoder().decode(bytes.subarray(10, 10 + size));
  const numbers = /'shape': \(([^)]*)\)/.exec(header)?.[1] ?? "";
  const shape = numbers
    .split(",")
    .filter((word) => word.trim())
    .map(Number);
  return { shape, data: new Int32Array(bytes.slice(10 + size).buffer) };
}

/**
 * Return the codes of chunks as the golden files have them: [channel, frame, codebook], -1 where a chunk has fewer.
 * @param {import("../../../assets/web/lamella/format.js").Header} header
 * @param {{chunk: import("../../../assets/web/lamella/format.js").StoredChunk, codes: Int32Array}[]} chunks
 */
export function joinedCodes(header, chunks) {
  const { channels, numCodebooks } = header;
  const frames = chunks.reduce((sum, { chunk }) => sum + chunk.frames, 0);
  const all = new Int32Array(channels * frames * numCodebooks).fill(-1);
  for (const { chunk, codes } of chunks) {
    for (let row = 0; row < channels * chunk.frames; row++) {
      const frame = Math.floor(row / chunk.frames) * frames + chunk.startFrame + (row % chunk.frames);
      all.set(codes.subarray(row * chunk.codebooks, (row + 1) * chunk.codebooks), frame * numCodebooks);
    }
  }
  return { shape: [channels, frames, numCodebooks], data: all };
}
