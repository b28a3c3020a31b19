/** The trailer of a stream, which holds the sizes of all chunks and the number of samples, and the header's copy. */

import { BitstreamError, ChecksumMismatch } from "./errors.js";
import { checkCrc, joined, uint32, uint64, varint, varints, view, withCrc } from "./fields.js";
import { COPY_FROM, HEADER_BYTES, MAX_SAMPLES, MIN_CHUNK, headerBytes } from "./format.js";

/** @typedef {import("./fields.js").ByteReader} ByteReader */
/** @typedef {import("./format.js").Header} Header */

export const MAX_INDEX = 2 ** 20; // bytes

const FOOTER_BYTES = 16; // num_samples, size of the index, CRC-32
const COPY_FOLLOWS = 2 ** 31; // added to the size of the index if a copy of the header follows the trailer

/** The index of a trailer, built chunk by chunk: the sizes as varints, none once they would take more than MAX_INDEX. */
export class Index {
  constructor() {
    /** @type {number[]} */
    this.sizes = [];
    this.full = false;
  }

  /**
   * Append the size of a chunk in bytes.
   * @param {number} size
   */
  add(size) {
    const data = varint(size);
    this.full ||= this.sizes.length + data.length > MAX_INDEX;
    if (this.full) this.sizes = [];
    else this.sizes.push(...data);
  }
}

/** A trailer whose CRC-32 is right; its content is not checked yet. */
export class Trailer {
  /**
   * @param {Uint8Array} data all its bytes
   * @param {number} offset its first byte in the stream
   */
  constructor(data, offset) {
    const numSamples = view(data).getBigUint64(data.length - FOOTER_BYTES, true);
    this.offset = offset;
    this.sizes = data.subarray(1, data.length - FOOTER_BYTES);
    /** @type {number} one beyond the limit stays a bigint, so that a message shows all its digits */
    this.numSamples = numSamples > MAX_SAMPLES ? /** @type {any} */ (numSamples) : Number(numSamples);
    this.where = `trailer at byte ${offset}`;
    this.end = offset + data.length; // the first byte after it
    this.hasCopy = view(data).getUint32(data.length - 8, true) >= COPY_FOLLOWS;
  }

  /** Return the first byte of each chunk; throw BitstreamError unless the chunks fill the stream. */
  chunkOffsets() {
    const sizes = varints(this.sizes);
    if (!sizes) {
      throw new BitstreamError(`${this.where}: the index is not a row of varints of at most 4 bytes`);
    }
    let total = HEADER_BYTES;
    const offsets = sizes.map((size) => (total += size) - size);
    if (total !== this.offset || sizes.some((size) => size < MIN_CHUNK)) {
      throw new BitstreamError(
        `${this.where}: the index gives ${total - HEADER_BYTES} bytes of chunks, ` +
          `expected ${this.offset - HEADER_BYTES}`,
      );
    }
    return offsets;
  }
}

/**
 * Return the bytes that end a stream: the trailer, and the copy of the header unless the stream is very short.
 * @param {Index} index of all chunks
 * @param {number} numSamples source samples in a channel
 * @param {Header} header of the stream
 * @param {number} size bytes of the header and the chunks
 */
export function ending(index, numSamples, header, size) {
  const copy = size >= COPY_FROM ? headerBytes(header) : new Uint8Array(0);
  const sizes = Uint8Array.from(index.sizes);
  const indexSize = sizes.length + (copy.length ? COPY_FOLLOWS : 0);
  return joined(withCrc(joined(Uint8Array.of(0), sizes, uint64(numSamples), uint32(indexSize))), copy);
}

/**
 * Read the trailer after its first byte, the 0.
 * @param {ByteReader} source
 * @param {number} offset the first byte of the trailer
 * @param {number} indexSize bytes of the index of the chunks read so far
 */
export function readTrailer(source, offset, indexSize) {
  const where = `trailer at byte ${offset}`;
  const data = joined(Uint8Array.of(0), source.readExactly(indexSize + FOOTER_BYTES, where));
  checkCrc(data, where);
  return new Trailer(data, offset);
}

/**
 * Read the copy of the header; throw a BitstreamError unless it is there and equal to the header.
 * @param {ByteReader} source
 * @param {Header} header
 */
export function checkCopy(source, header) {
  const where = `copy of the header at byte ${source.position}`;
  const copy = source.readExactly(HEADER_BYTES, where);
  const expected = headerBytes(header);
  if (copy.some((byte, place) => byte !== expected[place])) {
    throw new ChecksumMismatch(`${where}: damaged, expected the ${HEADER_BYTES} bytes of the header`);
  }
}

/**
 * Read the trailer at the end of a file; return null if no valid one is there.
 * @param {Uint8Array} bytes the whole file
 */
export function findTrailer(bytes) {
  for (const copySize of [HEADER_BYTES, 0]) {
    const trailer = trailerBefore(bytes, bytes.length - copySize);
    if (trailer && trailer.hasCopy === copySize > 0) return trailer;
  }
  return null;
}

/**
 * Return the trailer that ends at a byte of the file; null if it is not valid.
 * @param {Uint8Array} bytes
 * @param {number} end
 */
function trailerBefore(bytes, end) {
  if (end - HEADER_BYTES <= FOOTER_BYTES) return null;
  const size = 1 + (view(bytes).getUint32(end - 8, true) % COPY_FOLLOWS) + FOOTER_BYTES;
  const offset = end - size;
  if (size > 1 + MAX_INDEX + FOOTER_BYTES || offset < HEADER_BYTES || bytes[offset] !== 0) return null;
  const data = bytes.subarray(offset, end);
  try {
    checkCrc(data, "trailer");
  } catch (error) {
    if (error instanceof ChecksumMismatch) return null;
    throw error;
  }
  return new Trailer(data, offset);
}
