/** The fields of the layout in `format.js`: exact reads, varints and checksums. */

import { BitstreamError, ChecksumMismatch, Truncated } from "./errors.js";

export const CRC_BYTES = 4;
export const MAX_VARINT = 4; // bytes

/** Reads bytes of a stream and counts from its start. */
export class ByteReader {
  /** @param {Uint8Array} bytes the stream, or as much of it as has arrived */
  constructor(bytes) {
    this.bytes = bytes;
    this.position = 0;
  }

  /**
   * Read `size` bytes, fewer only where the stream ends.
   * @param {number} size
   */
  readUpTo(size) {
    const data = this.bytes.subarray(this.position, this.position + size);
    this.position += data.length;
    return data;
  }

  /**
   * Read `size` bytes; throw Truncated if the stream ends earlier.
   * @param {number} size
   * @param {string} where the place in the stream, for messages
   */
  readExactly(size, where) {
    const data = this.readUpTo(size);
    if (data.length < size) {
      throw new Truncated(
        `${where}: the stream ends at byte ${this.position}, expected at least ${size - data.length} bytes more`,
      );
    }
    return data;
  }

  /**
   * Read a varint; throw BitstreamError if it is longer than necessary or than allowed.
   * @param {string} where
   */
  readVarint(where) {
    const start = this.position;
    let byte = 0x80;
    let value = 0;
    for (let place = 0; byte >= 0x80 && place < MAX_VARINT; place++) {
      byte = this.readExactly(1, where)[0];
      value += (byte & 0x7f) * 2 ** (7 * place);
    }
    const data = this.bytes.subarray(start, this.position);
    if (byte >= 0x80 || data.length !== varint(value).length) {
      throw new BitstreamError(`${where}: ${hex(data, " ")} is not a varint of at most ${MAX_VARINT} bytes`);
    }
    return value;
  }
}

/**
 * Return 0 <= value < 2^28 in bytes of 7 bits, the least significant first.
 * @param {number} value
 */
export function varint(value) {
  const data = [];
  while (value >= 0x80) {
    data.push((value & 0x7f) | 0x80);
    value >>>= 7;
  }
  data.push(value);
  return Uint8Array.from(data);
}

/**
 * Decode consecutive varints; return null if one is too long or incomplete.
 * @param {Uint8Array} data
 * @returns {number[] | null}
 */
export function varints(data) {
  const values = [];
  for (let start = 0, end = 0; end < data.length; start = end) {
    let value = 0;
    do {
      if (end === data.length || end - start === MAX_VARINT) return null;
      value += (data[end] & 0x7f) * 2 ** (7 * (end - start));
    } while (data[end++] >= 0x80);
    values.push(value);
  }
  return values;
}

/** @param {...Uint8Array} parts */
export function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}

/**
 * Return bytes as hexadecimal digits.
 * @param {Uint8Array} data
 * @param {string} separator between two bytes
 */
export function hex(data, separator = "") {
  return Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join(separator);
}

/** @param {Uint8Array} data */
export function view(data) {
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

/**
 * Return a 32-bit number as four bytes.
 * @param {number} value
 */
export function uint32(value) {
  const data = new Uint8Array(4);
  view(data).setUint32(0, value, true);
  return data;
}

/**
 * Return a number below 2^53 as eight bytes.
 * @param {number | bigint} value
 */
export function uint64(value) {
  const data = new Uint8Array(8);
  view(data).setBigUint64(0, BigInt(value), true);
  return data;
}

/**
 * Append the CRC-32 of the bytes.
 * @param {Uint8Array} data
 */
export function withCrc(data) {
  return joined(data, uint32(crc32(data)));
}

/**
 * Throw ChecksumMismatch unless the last four bytes are the CRC-32 of the preceding bytes.
 * @param {Uint8Array} data
 * @param {string} where
 */
export function checkCrc(data, where) {
  const end = data.length - CRC_BYTES;
  compareCrc(view(data).getUint32(end, true), crc32(data.subarray(0, end)), where);
}

/**
 * Throw ChecksumMismatch unless the computed checksum equals the stored one.
 * @param {number} stored
 * @param {number} computed
 * @param {string} where
 */
export function compareCrc(stored, computed, where) {
  if (stored !== computed) {
    const [found, expected] = [computed, stored].map((value) => value.toString(16).padStart(8, "0"));
    throw new ChecksumMismatch(`${where}: checksum ${found}, expected ${expected}`);
  }
}

const SLICES = 8; // bytes in one step of the checksum
const TABLES = crcTables();

/**
 * Return the CRC-32 of zlib.
 * @param {Uint8Array} data
 * @param {number} before the CRC-32 of the bytes before these
 */
export function crc32(data, before = 0) {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES;
  const whole = data.length - (data.length % SLICES);
  let crc = ~before;
  let place = 0;
  for (; place < whole; place += SLICES) {
    const low =
      crc ^ (data[place] | (data[place + 1] << 8) | (data[place + 2] << 16) | (data[place + 3] << 24));
    crc =
      t7[low & 0xff] ^
      t6[(low >>> 8) & 0xff] ^
      t5[(low >>> 16) & 0xff] ^
      t4[low >>> 24] ^
      t3[data[place + 4]] ^
      t2[data[place + 5]] ^
      t1[data[place + 6]] ^
      t0[data[place + 7]];
  }
  for (; place < data.length; place++) crc = t0[(crc ^ data[place]) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/**
 * Compute the CRC-32 of the bytes up to each place.
 * @param {Uint8Array} bytes
 * @param {Uint32Array} sums [place], known up to `start`, and extended to `end`
 * @param {number} start
 * @param {number} end
 */
export function extendSums(bytes, sums, start, end) {
  const table = TABLES[0];
  let crc = ~sums[start];
  for (let place = start; place < end; place++) {
    crc = table[(crc ^ bytes[place]) & 0xff] ^ (crc >>> 8);
    sums[place + 1] = ~crc;
  }
  return end;
}

/**
 * Return what a change of a CRC-32 becomes if one more byte follows.
 * @param {number} change
 */
export function followedByZero(change) {
  return TABLES[0][change & 0xff] ^ (change >>> 8);
}

function crcTables() {
  const first = new Int32Array(256).map((_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    return value;
  });
  const tables = [first];
  for (let slice = 1; slice < SLICES; slice++) {
    tables.push(tables[slice - 1].map((value) => first[value & 0xff] ^ (value >>> 8)));
  }
  return tables;
}
