/**
 * Reads the intact chunks of a damaged file, and repairs its header, as `codec/bitstream/recovery.py` does.
 *
 * With an index, each chunk is read at its offset, and damage costs only the chunks that it hit. There is no index if
 * the trailer is damaged or cut off, or if bytes are missing in between. Then chunks are read one after another. Where
 * that fails, `search.js` finds the next.
 */

import { BitstreamError } from "./errors.js";
import { CRC_BYTES, crc32, followedByZero, view } from "./fields.js";
import { HEADER_BYTES, MAGIC, MIN_CHUNK, readHeader } from "./format.js";
import { Reader } from "./reader.js";
import { candidates } from "./search.js";

/** @typedef {import("./format.js").Header} Header */
/** @typedef {import("./format.js").StoredChunk} StoredChunk */
/** @typedef {import("./search.js").Candidate} Candidate */

const MISSING = 64; // chunks that an interrupted transfer may leave out completely
const NEAR = 2 ** 16; // bytes; a chunk further behind damage is believed only if another one or the end follows it
const TAIL = 2 ** 16; // bytes at the end of a file that are searched for a copy of the header
const BUDGET = 2 ** 26; // bytes read without success before chunks are only searched for

/**
 * Reads a damaged or truncated file: `storedChunks` gives the intact chunks, in order. It throws a BitstreamError only
 * for a header that cannot be repaired.
 */
export class RecoveringReader extends Reader {
  /** @param {Uint8Array} bytes the whole file */
  constructor(bytes) {
    super(bytes);
    this.budget = BUDGET;
  }

  *storedChunks() {
    if (!this.chunkOffsets) {
      yield* this.search();
      return;
    }
    for (let number = this.nextChunk; number < this.chunkOffsets.length; number++) {
      const chunk = this.readAt(this.chunkOffsets[number], number);
      if (chunk) yield chunk;
    }
  }

  /** Read the header, or repair it by its copy or by its checksum. */
  readHeader() {
    this.headerRepaired = false;
    try {
      return super.readHeader();
    } catch (error) {
      const header =
        copiedHeader(this.source.bytes) ?? corrected(this.source.bytes.subarray(0, HEADER_BYTES));
      if (!header) throw error;
      this.headerRepaired = true;
      return header;
    }
  }

  /** Accept a damaged copy, since the header was read. */
  checkCopy() {}

  readIndex() {
    // A trailer that contradicts the rest belongs to another file, or bytes are missing in between.
    attempt(() => super.readIndex());
  }

  /** Read one chunk after another; where that fails, search for the next. */
  *search() {
    const places = candidates(this.source.bytes, this.header);
    let end = this.headerRepaired ? 0 : HEADER_BYTES; // bytes may be missing in a damaged header
    let number = 0;
    let chunk = this.readAt(HEADER_BYTES, 0);
    while (!this.finished) {
      chunk ??= this.nextIntact(places, end, number);
      if (!chunk) return;
      end = this.source.position;
      number = chunk.index + 1;
      yield chunk;
      chunk = this.budget > 0 ? this.readAt(end, number) : null;
    }
  }

  /**
   * Return the next chunk at or after byte `end` with this number or a later one; null if there is none.
   * @param {Generator<Candidate, void>} places
   * @param {number} end
   * @param {number} number
   */
  nextIntact(places, end, number) {
    for (let next = places.next(); next.value; next = places.next()) {
      const skipped = next.value.offset - end;
      const ahead = next.value.number - number;
      if (skipped < 0 || ahead < 0 || ahead > Math.floor(skipped / MIN_CHUNK) + MISSING) continue;
      const chunk = this.readAt(next.value.offset, next.value.number);
      if (chunk && (skipped <= NEAR || this.isFollowed(chunk))) return chunk;
    }
    return null;
  }

  /**
   * Return true if the next chunk or the end follows the chunk just read; leave the position after the chunk.
   * @param {StoredChunk} chunk
   */
  isFollowed(chunk) {
    const end = this.source.position;
    const tag = this.source.bytes[end];
    const followed = !tag || (this.budget > 0 && this.readAt(end, chunk.index + 1) !== null);
    if (!followed) this.budget -= chunk.payload.length;
    this.source.position = end;
    return followed;
  }

  /**
   * Read the chunk of this number at a byte of the file; return null if it is damaged or the trailer.
   * @param {number} offset
   * @param {number} number
   */
  readAt(offset, number) {
    this.source.position = offset;
    this.nextChunk = number;
    this.nextFrame = number * this.header.framesPerChunk;
    try {
      return this.readChunk();
    } catch (error) {
      if (!(error instanceof BitstreamError)) throw error;
      this.budget -= this.source.position - offset;
      return null;
    }
  }
}

/**
 * Return the header whose copy ends the file, or ended it before something was appended; null without one.
 * @param {Uint8Array} bytes
 * @returns {Header | null}
 */
function copiedHeader(bytes) {
  for (let at = bytes.length - HEADER_BYTES; at >= Math.max(0, bytes.length - TAIL); at--) {
    if (MAGIC.some((byte, place) => byte !== bytes[at + place])) continue;
    const header = attempt(() => readHeader(bytes.subarray(at, at + HEADER_BYTES)));
    if (header) return header;
  }
  return null;
}

/**
 * Return the header that differs in one byte from these 43 bytes; null if there is none. There is never more than one:
 * each of the 43 * 255 possible errors changes the checksum in a way of its own.
 * @param {Uint8Array} data
 * @returns {Header | null}
 */
function corrected(data) {
  if (data.length < HEADER_BYTES) return null;
  const end = HEADER_BYTES - CRC_BYTES;
  const wrong = view(data).getUint32(end, true) ^ crc32(data.subarray(0, end));
  for (let error = 1; error < 256; error++) {
    for (let at = 0; at < CRC_BYTES; at++) {
      if (error << (8 * at) === wrong) return headerWith(data, end + at, error);
    }
    let change = error; // of the checksum, if the byte at `at` is wrong
    for (let at = end - 1; at >= 0; at--) {
      change = followedByZero(change);
      if (change === wrong) return headerWith(data, at, error);
    }
  }
  return null;
}

/**
 * @param {Uint8Array} data
 * @param {number} at the byte that is wrong
 * @param {number} error its wrong bits
 */
function headerWith(data, at, error) {
  const changed = data.slice();
  changed[at] ^= error;
  return attempt(() => readHeader(changed));
}

/**
 * Return the result of a function; null if it throws a BitstreamError.
 * @template Result
 * @param {() => Result} read
 * @returns {Result | null}
 */
function attempt(read) {
  try {
    return read();
  } catch (error) {
    if (error instanceof BitstreamError) return null;
    throw error;
  }
}
