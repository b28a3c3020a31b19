/**
 * Reads the intact chunks of a damaged file, as `codec/bitstream/recovery.py` does.
 *
 * With an index, each chunk is read at its offset, and damage costs only the chunks that it hit. There is no index if
 * the trailer is damaged or cut off, or if bytes are missing in between. Then chunks are read one after another. Where
 * that fails, the next chunk is searched for: bytes that begin like a chunk of framesPerChunk frames, and whose CRC-32,
 * which covers the chunk's number too, fits one of the numbers that may follow.
 */

import { BitstreamError, ChecksumMismatch } from "./errors.js";
import { varint } from "./fields.js";
import { FEWER_CODEBOOKS, HEADER_BYTES, MIN_CHUNK, PACKED, RANGE_CODED } from "./format.js";
import { Reader } from "./reader.js";

/** @typedef {import("./format.js").StoredChunk} StoredChunk */

const MISSING = 64; // chunks that an interrupted transfer may leave out completely
const BUDGET = 2 ** 28; // bytes checked without success before the search stops: a few seconds
const TRY_COST = 2 ** 11; // bytes that could be checked in the time that starting one check takes

/** Reads a damaged or truncated file: `storedChunks` gives the intact chunks, in order. Only a damaged header throws. */
export class RecoveringReader extends Reader {
  /**
   * @param {Uint8Array} bytes the whole file
   * @param {{missing?: number, budget?: number}} limits of the search
   */
  constructor(bytes, { missing = MISSING, budget = BUDGET } = {}) {
    super(bytes);
    this.missing = missing;
    this.budget = budget;
  }

  readIndex() {
    try {
      super.readIndex();
    } catch (error) {
      if (!(error instanceof BitstreamError)) throw error;
      // It contradicts the rest: it belongs to another file, or bytes are missing in between.
      this.chunkOffsets = null;
    }
  }

  *storedChunks() {
    if (!this.chunkOffsets) {
      yield* this.search();
      return;
    }
    for (let number = this.nextChunk; number < this.chunkOffsets.length; number++) {
      const chunk = this.readAt(this.chunkOffsets[number], number, number);
      if (chunk) yield chunk;
    }
  }

  /** Read one chunk after another; where that fails, search for the next. */
  *search() {
    let end = HEADER_BYTES;
    let number = 0;
    for (let chunk = this.nextIntact(end, number); chunk; chunk = this.nextIntact(end, number)) {
      end = this.source.position;
      number = chunk.index + 1;
      yield chunk;
    }
  }

  /**
   * Return the first chunk at or after byte `start` with this number or a later one; null if there is none.
   * @param {number} start
   * @param {number} number
   */
  nextIntact(start, number) {
    for (const position of this.candidates(start)) {
      const lost = Math.floor((position - start) / MIN_CHUNK) + this.missing;
      const chunk = this.readAt(position, number, number + lost);
      if (chunk || this.finished || this.budget < 0) return chunk;
    }
    return null;
  }

  /**
   * Yield `start`, then the later bytes where a chunk of framesPerChunk frames may begin.
   * @param {number} start
   */
  *candidates(start) {
    const codings = this.header.varies ? [PACKED, RANGE_CODED, FEWER_CODEBOOKS] : [PACKED, RANGE_CODED];
    const tags = codings.map((coding) => varint(this.header.framesPerChunk * 4 + coding));
    const { bytes } = this.source;
    yield start;
    for (let position = start + 1; position < bytes.length; position++) {
      if (tags.some((tag) => tag.every((byte, place) => byte === bytes[position + place]))) yield position;
    }
  }

  /**
   * Read the chunk at a byte of the file if it has one of these numbers; null if it is damaged or the trailer.
   * @param {number} position
   * @param {number} first
   * @param {number} last
   * @returns {StoredChunk | null}
   */
  readAt(position, first, last) {
    for (let number = first; number <= last; number++) {
      this.source.position = position;
      this.nextChunk = number;
      this.nextFrame = number * this.header.framesPerChunk;
      try {
        return this.readChunk();
      } catch (error) {
        if (!(error instanceof BitstreamError)) throw error;
        if (!(error instanceof ChecksumMismatch)) return null;
        this.budget -= this.source.position - position + TRY_COST;
      }
    }
    return null;
  }
}
