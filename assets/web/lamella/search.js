/**
 * Finds the chunks in a file whose beginnings are not known, in time that grows only with its size.
 *
 * The CRC-32 of a chunk covers the chunk's number before all else. A CRC-32 is the remainder of a division of polynomials
 * over two elements, so it can be run backwards: from the stored checksum over the payload and the fields to the number.
 * Foreign bytes give a random number of 32 bits, which hardly ever fits the place. So each place where a chunk may begin
 * is tried once, whatever its number may be. The checksums of all payloads come from a single pass over the bytes:
 *
 *     crc(a + b) = shifted(crc(a), size of b) ^ crc(b)
 */

import { crc32, extendSums, varint, view } from "./fields.js";
import { FEWER_CODEBOOKS, PACKED, RANGE_CODED } from "./format.js";
import { packedSize } from "./packing.js";

/** @typedef {import("./format.js").Header} Header */

/**
 * A place where a chunk begins, if its checksum is not right by chance.
 * @typedef {object} Candidate
 * @property {number} offset its first byte in the file
 * @property {number} number of the chunk, below 2^32
 */

const POLYNOMIAL = 0xedb88320; // of the CRC-32; the coefficient of x^0 is the top bit
const NUMBER_SIZE = 8; // bytes of a chunk's number under the checksum

/**
 * Yield the places in a file where a chunk of framesPerChunk frames may begin, in order.
 * @param {Uint8Array} bytes
 * @param {Header} header
 * @returns {Generator<Candidate, void>}
 */
export function* candidates(bytes, header) {
  const codings = header.varies ? [PACKED, RANGE_CODED, FEWER_CODEBOOKS] : [PACKED, RANGE_CODED];
  const tags = codings.map((coding) => varint(header.framesPerChunk * 4 + coding));
  const sums = new Uint32Array(bytes.length + 1); // CRC-32 of the file up to each byte, as far as it is needed
  let known = 0; // bytes
  for (let offset = 0; offset < bytes.length; offset++) {
    const which = tags.findIndex((tag) => tag.every((byte, place) => byte === bytes[offset + place]));
    const place = which < 0 ? null : placeAt(bytes, offset + tags[which].length, codings[which], header);
    if (!place) continue;
    const { payload, end } = place;
    known = Math.max(known, extendSums(bytes, sums, known, end));
    const fields = bytes.subarray(offset, payload - 4);
    const stored = view(bytes).getUint32(payload - 4, true);
    const withFields = shiftedBack(stored ^ sums[end], end - payload) ^ sums[payload];
    yield { offset, number: numberOf(shiftedBack(withFields ^ crc32(fields), fields.length)) };
  }
}

/**
 * Return the bounds of the payload of a chunk whose first field is read already; null if the other fields are not valid.
 * @param {Uint8Array} bytes
 * @param {number} at the byte after the first field
 * @param {number} coding
 * @param {Header} header
 */
function placeAt(bytes, at, coding, { numCodebooks, framesPerChunk, channels, bitsPerCode }) {
  let codebooks = numCodebooks;
  if (coding === FEWER_CODEBOOKS) {
    const [value, next] = varintAt(bytes, at);
    codebooks = value >> 1;
    coding = value & 1;
    at = next;
    if (codebooks >= numCodebooks) return null;
  }
  const [size, next] = varintAt(bytes, at);
  const packed = packedSize(framesPerChunk * channels * codebooks, bitsPerCode);
  const payload = next + 4;
  const fits = coding === PACKED ? size === packed : size < packed;
  return fits && payload + size <= bytes.length ? { payload, end: payload + size } : null;
}

/**
 * Decode a varint; return its value and the place after it. A form that is not the shortest is no fault here.
 * @param {Uint8Array} bytes
 * @param {number} at
 */
function varintAt(bytes, at) {
  let value = 0;
  let shift = 0;
  while (bytes[at] >= 0x80 && shift < 21) {
    value |= (bytes[at++] & 0x7f) << shift;
    shift += 7;
  }
  return [value | ((bytes[at] & 0x7f) << shift), at + 1];
}

/**
 * Return the integer whose CRC-32, as 8 bytes with zeros at their end, is this.
 * @param {number} crc
 */
function numberOf(crc) {
  return ~shiftedBack(~crc, NUMBER_SIZE) >>> 0; // a CRC-32 begins with all bits set and ends with all bits changed
}

/** Remainders of x^-8, x^-16, x^-32 ..: each is the square of the one before. */
const POWERS = powers();

/**
 * Divide a remainder by x^8 for each of so many bytes: undo that these bytes follow.
 * @param {number} crc
 * @param {number} size
 */
function shiftedBack(crc, size) {
  for (let bit = 0; size >> bit; bit++) {
    if ((size >> bit) & 1) crc = times(crc, POWERS[bit]);
  }
  return crc;
}

function powers() {
  let power = 1 << 31; // x^0
  for (let step = 0; step < 8; step++)
    power = power < 0 ? (power << 1) ^ ((POLYNOMIAL << 1) | 1) : power << 1;
  const list = [power];
  while (list.length < 28) list.push(times(list[list.length - 1], list[list.length - 1]));
  return Int32Array.from(list);
}

/**
 * Return the remainder of a product.
 * @param {number} a
 * @param {number} b
 */
function times(a, b) {
  let product = 0;
  for (let bit = 31; bit >= 0; bit--) {
    product ^= a & -((b >>> bit) & 1);
    a = (a >>> 1) ^ (POLYNOMIAL & -(a & 1));
  }
  return product;
}
