/**
 * Mutated files, read in every way. To try more of them than the tests do:
 *
 *     node tests/web/support/fuzz.js 100000 [SEED]
 */

import { pathToFileURL } from "node:url";

import { BitstreamError, ModelError } from "../../../assets/web/lamella/errors.js";
import { crc32, joined, uint32 } from "../../../assets/web/lamella/fields.js";
import { chunkBytes } from "../../../assets/web/lamella/format.js";
import { Prior } from "../../../assets/web/lamella/prior.js";
import { Recording } from "../../../assets/web/lamella/recording.js";
import { names, read } from "./files.js";
import { readFile, readStream, recoverFile } from "./reading.js";
import { smallPrior } from "./prior.js";

const SLOWEST = 20; // seconds of processor time for one input: a hang
const LARGEST = 5_000; // bytes of an input

/**
 * Try inputs; throw for the first one that hangs, or throws anything but an error of the library.
 * @param {number} count
 * @param {number} seed
 */
export async function fuzz(count, seed) {
  const random = generator(seed);
  const tensors = smallPrior(random);
  const prior = new Prior(tensors);
  const seeds = ["tests/golden/v1", "tests/negative"].flatMap((folder) =>
    names(folder, ".lam").map((name) => read(`${folder}/${name}.lam`)),
  );
  for (let number = 0; number < count; number++) {
    let bytes = mutated(seeds, random);
    if (random(2)) bytes = repaired(bytes);
    const start = process.cpuUsage();
    try {
      await tryAll(bytes, prior, random);
    } catch (error) {
      throw new Error(`input ${number} of seed ${seed}: ${Buffer.from(bytes).toString("base64")}`, {
        cause: error,
      });
    }
    const { user, system } = process.cpuUsage(start);
    if (user + system > SLOWEST * 1e6)
      throw new Error(`input ${number} of seed ${seed} takes ${user + system} µs`);
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {Prior} prior
 * @param {(limit: number) => number} random
 */
async function tryAll(bytes, prior, random) {
  readFile(bytes, random(2) ? prior : null);
  readStream(bytes, prior, 1 + random(200));
  const { chunks, reader, error } = recoverFile(bytes, prior);
  chunks.forEach(({ chunk }, place) => {
    if (place && chunk.index <= chunks[place - 1].chunk.index) throw new Error("chunks are not in order");
  });
  if (!reader && !(error instanceof BitstreamError)) throw new Error("no reader and no error");
  const recording = new Recording();
  for (let place = 0; place < bytes.length; place += 1000)
    recording.append(bytes.subarray(place, place + 1000));
  recording.end();
  if (
    recording.header &&
    recording.failure === null &&
    recording.damage === null &&
    recording.numSamples === null
  ) {
    throw new Error("a whole file of unknown length");
  }
  if (random(10) === 0) {
    try {
      Prior.fromBytes(bytes);
    } catch (thrown) {
      if (!(thrown instanceof ModelError)) throw thrown;
    }
  }
}

/**
 * Return a file with some changes.
 * @param {Uint8Array[]} seeds
 * @param {(limit: number) => number} random
 */
function mutated(seeds, random) {
  const noise = (/** @type {number} */ size) => Uint8Array.from({ length: size }, () => random(256));
  let bytes = seeds[random(seeds.length)].slice(0, LARGEST);
  for (let change = random(6); change >= 0; change--) {
    const at = random(bytes.length + 1);
    const size = random(40);
    switch (random(6)) {
      case 0:
        if (at < bytes.length) bytes[at] ^= 1 << random(8);
        break;
      case 1:
        bytes = joined(bytes.subarray(0, at), noise(size), bytes.subarray(at + size));
        break;
      case 2:
        bytes = joined(bytes.subarray(0, at), bytes.subarray(at + size));
        break;
      case 3:
        bytes = joined(bytes.subarray(0, at), noise(size), bytes.subarray(at));
        break;
      case 4:
        bytes = bytes.slice(0, at);
        break;
      default:
        bytes = joined(
          bytes.subarray(0, at),
          seeds[random(seeds.length)].subarray(random(60), 60 + size * 5),
        );
    }
  }
  return bytes.length > LARGEST ? bytes.slice(0, LARGEST) : bytes;
}

/**
 * Correct the checksums of the header, the chunks and the trailer, as far as these can be recognized.
 * @param {Uint8Array} bytes
 */
function repaired(bytes) {
  if (bytes.length < 43) return bytes;
  const header = bytes.subarray(0, 39);
  const parts = [header, uint32(crc32(header))];
  for (let place = 43, number = 0; place < bytes.length; number++) {
    const start = place;
    const [tag, afterTag] = varintAt(bytes, place);
    if (!tag) {
      const trailer = bytes.subarray(start, Math.max(start, bytes.length - 4));
      return joined(...parts, trailer, uint32(crc32(trailer)));
    }
    const afterCodebooks = tag % 4 === 2 ? varintAt(bytes, afterTag)[1] : afterTag;
    const [size, afterSize] = varintAt(bytes, afterCodebooks);
    const payload = bytes.subarray(afterSize + 4, afterSize + 4 + size);
    parts.push(chunkBytes(number, bytes.subarray(start, afterSize), payload));
    place = afterSize + 4 + size;
  }
  return joined(...parts);
}

/**
 * @param {Uint8Array} bytes
 * @param {number} at
 */
function varintAt(bytes, at) {
  let value = 0;
  for (let shift = 0; shift < 28; shift += 7) {
    const byte = bytes[at++] ?? 0;
    value |= (byte & 127) << shift;
    if (byte < 128) break;
  }
  return [value, at];
}

/**
 * Return a function that gives whole numbers below a limit, the same ones for the same seed.
 * @param {number} seed
 * @returns {(limit: number) => number}
 */
export function generator(seed) {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    const mixed = Math.imul(state ^ (state >>> 13), 0x297a2d39);
    return ((mixed ^ (mixed >>> 16)) >>> 0) % limit;
  };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [count, seed] = [Number(process.argv[2] ?? 100_000), Number(process.argv[3] ?? 1)];
  const start = performance.now();
  await fuzz(count, seed);
  console.log(
    `${count} inputs of seed ${seed}: no hang and no uncaught error, ${Math.round((performance.now() - start) / 1000)} s`,
  );
}
