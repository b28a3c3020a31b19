/**
 * The layout of a .lam file, version 1, as drawn at the top of `codec/bitstream/format.py`.
 *
 *     stream   header | chunk 0 | chunk 1 | .. | chunk n-1 | trailer | copy of the header, not in all streams
 */

import { BitstreamError, Truncated, UnsupportedVersion, WrongModel } from "./errors.js";
import { checkCrc, crc32, hex, joined, uint32, uint64, view, withCrc } from "./fields.js";

export const MAGIC = Uint8Array.of(0x4c, 0x41, 0x4d, 0x9a, 0x0d, 0x0a);
export const VERSION = 1;
export const HEADER_BYTES = 43;
export const PACKED = 0;
export const RANGE_CODED = 1;
export const FEWER_CODEBOOKS = 2; // the codings
export const FLAG_VARIES = 1; // chunks may have fewer codebooks
export const MAX_SAMPLES = 2 ** 48; // in a channel
export const MAX_BITS_PER_CODE = 16;
export const MIN_CHUNK = 6; // bytes
export const COPY_FROM = 1024; // bytes before the trailer from which on a stream ends with a copy of its header

const MAX_CODES_PER_CHUNK = 2 ** 20;
const MAX_SECONDS_PER_CHUNK = 60;
const MIN_PAYLOAD = 750; // bytes of a default chunk, so that its other fields add little
const UNKNOWN = 2n ** 64n - 1n;

/** Smallest and largest values, in the order and with the names of the Python code. */
const LIMITS = /** @type {const} */ ([
  ["sampleRate", "sample_rate", 1_000, 1_000_000],
  ["modelSampleRate", "model_sample_rate", 1_000, 1_000_000],
  ["hopLength", "hop_length", 1, 2 ** 16 - 1],
  ["channels", "channels", 1, 8],
  ["numCodebooks", "num_codebooks", 1, 2 ** 8 - 1],
  ["bitsPerCode", "bits_per_code", 1, MAX_BITS_PER_CODE],
]);

/**
 * The header of a stream.
 * @typedef {object} Header
 * @property {number} sampleRate of the source, Hz
 * @property {number} channels of the source
 * @property {number | null} numSamples source samples in a channel; null while unknown
 * @property {string} modelId identity of the model, 16 hexadecimal digits
 * @property {number} numCodebooks codes in a frame of one channel, or the maximum if `varies`
 * @property {number} bitsPerCode bits of a packed code
 * @property {number} framesPerChunk frames in every chunk but the last, which may have fewer
 * @property {number} modelSampleRate of the audio that the codes describe, Hz
 * @property {number} hopLength samples in a frame, at modelSampleRate
 * @property {boolean} varies true if chunks may have fewer than numCodebooks, each another number
 */

/**
 * A chunk as stored, with a checked CRC-32.
 * @typedef {object} StoredChunk
 * @property {number} index its number in the stream
 * @property {number} startFrame number of its first frame
 * @property {number} frames number of frames
 * @property {number} codebooks codes in a frame of one channel; 0 is silence
 * @property {number} coding of the payload, PACKED or RANGE_CODED
 * @property {Uint8Array} payload the coded codes
 * @property {number} size bytes of the whole chunk
 * @property {string} where the place in the stream, for messages
 */

/**
 * Throw RangeError for a value outside the limits.
 * @param {Header} header
 * @returns {Header}
 */
export function checkedHeader(header) {
  for (const [key, name, low, high] of LIMITS) checkRange(name, header[key], low, high);
  if (header.numSamples !== null) checkRange("num_samples", header.numSamples, 0, MAX_SAMPLES);
  if (!/^[0-9a-f]{16}$/.test(header.modelId))
    throw new RangeError(`model_id ${header.modelId}, expected 16 digits`);
  checkRange("frames_per_chunk", header.framesPerChunk, 1, mostFrames(header));
  return header;
}

/**
 * Decode the first 43 bytes of a stream.
 * @param {Uint8Array} data
 * @returns {Header}
 */
export function readHeader(data) {
  checkMagicVersionAndCrc(data);
  const fields = view(data);
  const flags = data[7];
  if (flags & ~FLAG_VARIES) {
    throw new UnsupportedVersion(
      `header: flags 0x${hex(data.subarray(7, 8))} at byte 7, expected 0x00 or 0x01`,
    );
  }
  const numSamples = fields.getBigUint64(31, true);
  try {
    return checkedHeader({
      sampleRate: fields.getUint32(8, true),
      modelSampleRate: fields.getUint32(12, true),
      hopLength: fields.getUint16(16, true),
      framesPerChunk: fields.getUint16(18, true),
      channels: data[20],
      numCodebooks: data[21],
      bitsPerCode: data[22],
      modelId: hex(data.subarray(23, 31)),
      numSamples: numSamples === UNKNOWN ? null : exactNumber(numSamples),
      varies: flags === FLAG_VARIES,
    });
  } catch (error) {
    if (error instanceof RangeError) throw new BitstreamError(`header at byte 0: ${error.message}`);
    throw error;
  }
}

/**
 * Return the 43 bytes that begin a stream.
 * @param {Header} header
 */
export function headerBytes(header) {
  const fields = new DataView(new ArrayBuffer(HEADER_BYTES - 4));
  const data = new Uint8Array(fields.buffer);
  data.set(MAGIC);
  data.set([VERSION, header.varies ? FLAG_VARIES : 0], 6);
  fields.setUint32(8, header.sampleRate, true);
  fields.setUint32(12, header.modelSampleRate, true);
  fields.setUint16(16, header.hopLength, true);
  fields.setUint16(18, header.framesPerChunk, true);
  data.set([header.channels, header.numCodebooks, header.bitsPerCode], 20);
  for (let place = 0; place < 8; place++) {
    data[23 + place] = Number.parseInt(header.modelId.slice(2 * place, 2 * place + 2), 16);
  }
  data.set(uint64(header.numSamples ?? UNKNOWN), 31);
  return withCrc(data);
}

/**
 * Return the fewest frames that can hold `numSamples` source samples.
 * @param {Header} header
 * @param {number} numSamples
 */
export function framesFor(header, numSamples) {
  const divisor = BigInt(header.sampleRate) * BigInt(header.hopLength);
  return Number((BigInt(numSamples) * BigInt(header.modelSampleRate) + divisor - 1n) / divisor);
}

/**
 * Return the number of samples at the model's rate that last as long as `numSamples` source samples, rounded up.
 * @param {Header} header
 * @param {number} numSamples
 */
export function modelSamples(header, numSamples) {
  const rate = BigInt(header.sampleRate);
  return Number((BigInt(numSamples) * BigInt(header.modelSampleRate) + rate - 1n) / rate);
}

/**
 * Return the most frames that hold `numSamples` source samples.
 * @param {Header} header
 * @param {number} numSamples
 * @param {number} delay samples at modelSampleRate that the model adds at the end
 */
export function mostFramesFor(header, numSamples, delay) {
  return Math.floor((modelSamples(header, numSamples) + delay) / header.hopLength) + 1;
}

/**
 * Return the frames of one second, or of as many whole seconds as fill 750 bytes, within the limits.
 * @param {Pick<Header, "channels" | "numCodebooks" | "bitsPerCode" | "hopLength" | "modelSampleRate">} sizes
 */
export function defaultFramesPerChunk(sizes) {
  const second = framesPerSecond(sizes);
  const bitsPerSecond = sizes.channels * sizes.numCodebooks * sizes.bitsPerCode * second;
  const seconds = Math.ceil((MIN_PAYLOAD * 8) / bitsPerSecond);
  const most = mostFrames(sizes);
  return Math.min(seconds * second, most - (most % second) || most);
}

/**
 * Return the number of frames in a second, rounded, at least one.
 * @param {Pick<Header, "hopLength" | "modelSampleRate">} sizes
 */
export function framesPerSecond({ hopLength, modelSampleRate }) {
  return Math.max(1, Math.round(modelSampleRate / hopLength));
}

/**
 * Return the error for a stream that none of these models made.
 * @param {Header} header
 * @param {string[]} modelIds
 */
export function wrongModel(header, modelIds) {
  return new WrongModel(
    `header: model ${header.modelId} at byte 23, expected ${modelIds.join(" or ")}: ` +
      "decode with the model that coded it",
  );
}

/**
 * Return the CRC-32 of a chunk.
 * @param {number} number of the chunk, from 0
 * @param {Uint8Array} fields the bytes of its varints
 * @param {Uint8Array} payload
 */
export function chunkCrc(number, fields, payload) {
  return crc32(payload, crc32(joined(uint64(number), fields)));
}

/**
 * Return the bytes of a chunk.
 * @param {number} number
 * @param {Uint8Array} fields
 * @param {Uint8Array} payload
 */
export function chunkBytes(number, fields, payload) {
  return joined(fields, uint32(chunkCrc(number, fields, payload)), payload);
}

/**
 * Return the error message for fewer frames than `numSamples` source samples need.
 * @param {Header} header
 * @param {number} numSamples
 * @param {number} numFrames
 */
export function tooFewFrames(header, numSamples, numFrames) {
  const needed = framesFor(header, numSamples);
  return `${numSamples} samples in at most ${numFrames} frames, expected at least ${needed} frames`;
}

/**
 * Throw RangeError unless `value` is an integer and low <= value <= high.
 * @param {string} name
 * @param {unknown} value
 * @param {number} low
 * @param {number} high
 */
export function checkRange(name, value, low, high) {
  const whole = Number.isInteger(value) || typeof value === "bigint";
  const number = /** @type {number} */ (value);
  if (!whole || !(low <= number && number <= high)) {
    throw new RangeError(`${name} ${value}, expected an integer from ${low} to ${high}`);
  }
}

/** @param {Uint8Array} data */
function checkMagicVersionAndCrc(data) {
  const start = data.subarray(0, MAGIC.length);
  if (start.some((byte, place) => byte !== MAGIC[place])) {
    const begins = start.subarray(0, 3).every((byte, place) => byte === MAGIC[place]);
    const cause = begins && start.length >= 3 ? ": perhaps changed by a transfer as text" : "";
    throw new BitstreamError(
      `not a Lamella file: ${hex(start, " ")} at byte 0, expected ${hex(MAGIC, " ")}${cause}`,
    );
  }
  if (data.length > 6 && data[6] !== VERSION) {
    throw new UnsupportedVersion(`header: format version ${data[6]} at byte 6, expected ${VERSION}`);
  }
  if (data.length < HEADER_BYTES) {
    const ending = data.length ? `the stream ends at byte ${data.length}` : "the stream is empty";
    throw new Truncated(`header at byte 0: ${ending}, expected at least ${HEADER_BYTES} bytes`);
  }
  checkCrc(data.subarray(0, HEADER_BYTES), "header at byte 0");
}

/**
 * Return the maximum number of frames in a chunk; at least 1.
 * @param {Pick<Header, "channels" | "numCodebooks" | "hopLength" | "modelSampleRate">} sizes
 */
function mostFrames({ channels, numCodebooks, hopLength, modelSampleRate }) {
  const byTime = Math.floor((MAX_SECONDS_PER_CHUNK * modelSampleRate) / hopLength);
  const byCodes = Math.floor(MAX_CODES_PER_CHUNK / (channels * numCodebooks));
  return Math.max(1, Math.min(byTime, byCodes, 2 ** 16 - 1));
}

/**
 * Return a number of samples; one beyond the limit stays a bigint, so that a message shows all its digits.
 * @param {bigint} value
 * @returns {number}
 */
function exactNumber(value) {
  return value > MAX_SAMPLES ? /** @type {any} */ (value) : Number(value);
}
