/** Codes with a fixed number of bits, the most significant first, without gaps; zero bits fill the last byte. */

import { BitstreamError } from "./errors.js";

/**
 * Return the number of bytes that `count` codes take.
 * @param {number} count
 * @param {number} bitsPerCode
 */
export function packedSize(count, bitsPerCode) {
  return Math.ceil((count * bitsPerCode) / 8);
}

/**
 * Convert codes to bits; throw RangeError for a code that does not fit.
 * @param {ArrayLike<number>} codes
 * @param {number} bitsPerCode
 */
export function pack(codes, bitsPerCode) {
  const data = new Uint8Array(packedSize(codes.length, bitsPerCode));
  let waiting = 0;
  let bits = 0;
  let place = 0;
  for (let number = 0; number < codes.length; number++) {
    const code = codes[number];
    if (!(code >= 0 && code < 1 << bitsPerCode))
      throw new RangeError(`code ${code} does not fit ${bitsPerCode} bits`);
    waiting = (waiting << bitsPerCode) | code;
    for (bits += bitsPerCode; bits >= 8; bits -= 8) data[place++] = waiting >> (bits - 8);
    waiting &= (1 << bits) - 1;
  }
  if (bits) data[place] = waiting << (8 - bits);
  return data;
}

/**
 * Convert bits back to codes, the inverse of `pack`.
 * @param {Uint8Array} data
 * @param {number} count
 * @param {number} bitsPerCode
 * @param {string} where the place in the stream, for messages
 */
export function unpack(data, count, bitsPerCode, where) {
  const size = packedSize(count, bitsPerCode);
  if (data.length !== size) {
    throw new BitstreamError(
      `${where}: ${data.length} bytes, expected ${size} for ${count} codes of ${bitsPerCode} bits`,
    );
  }
  const codes = new Int32Array(count);
  let waiting = 0;
  let bits = 0;
  let place = 0;
  for (let number = 0; number < count; number++) {
    for (; bits < bitsPerCode; bits += 8) waiting = (waiting << 8) | data[place++];
    bits -= bitsPerCode;
    codes[number] = waiting >> bits;
    waiting &= (1 << bits) - 1;
  }
  if (waiting) {
    const padding = waiting.toString(2).padStart(bits, "0");
    throw new BitstreamError(`${where}: padding bits ${padding}, expected zeros`);
  }
  return codes;
}
