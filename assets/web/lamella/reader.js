/** Reads a stream of chunks in the layout of `format.js`, checking every number before it is used. */

import { BitstreamError, Truncated, UnsupportedVersion } from "./errors.js";
import { ByteReader, CRC_BYTES, compareCrc, view } from "./fields.js";
import {
  FEWER_CODEBOOKS,
  HEADER_BYTES,
  MAX_SAMPLES,
  PACKED,
  RANGE_CODED,
  chunkCrc,
  mostFramesFor,
  readHeader,
  tooFewFrames,
} from "./format.js";
import { packedSize, unpack } from "./packing.js";
import { checkPrior } from "./prior.js";
import { Index, checkCopy, findTrailer, readTrailer } from "./trailer.js";

/** @typedef {import("./format.js").Header} Header */
/** @typedef {import("./format.js").StoredChunk} StoredChunk */
/** @typedef {import("./prior.js").Prior} Prior */
/** @typedef {import("./trailer.js").Trailer} Trailer */

/**
 * Reads the chunks of a stream one after another. A truncated or damaged stream gives the chunks before the damage, then
 * throws a BitstreamError.
 */
export class Reader {
  /**
   * @param {Uint8Array} bytes the whole file, or the start of a stream
   * @param {{whole?: boolean}} options `whole`: the file is complete, and its index is read first
   */
  constructor(bytes, { whole = true } = {}) {
    this.source = new ByteReader(bytes);
    this.header = this.readHeader();
    this.source.position = HEADER_BYTES;
    /** Source samples in a channel; null until the end of a stream whose header does not have them. */
    this.numSamples = this.header.numSamples;
    /** @type {number[] | null} first byte of each chunk; null without an index */
    this.chunkOffsets = null;
    /** @type {Trailer | null} if there are chunkOffsets */
    this.trailer = null;
    /** @type {number | null} samples that the model adds at the end; if set, a whole frame more is an error */
    this.delay = null;
    this.nextChunk = 0;
    this.nextFrame = 0;
    this.index = new Index();
    this.finished = false;
    if (whole) this.readIndex();
  }

  /**
   * Yield the remaining chunks as stored, with their checksums checked.
   * @returns {Generator<StoredChunk, void>}
   */
  *storedChunks() {
    while (!this.finished) {
      const chunk = this.readChunk();
      if (chunk) yield chunk;
    }
  }

  /**
   * Continue with a chunk; throw RangeError if there is no such chunk or no index.
   * @param {number} index
   */
  seek(index) {
    if (!this.chunkOffsets) throw new RangeError("this stream has no index to seek by");
    if (!(index in this.chunkOffsets)) {
      throw new RangeError(`no chunk ${index} in a stream of ${this.chunkOffsets.length}`);
    }
    this.source.position = this.chunkOffsets[index];
    this.nextChunk = index;
    this.nextFrame = index * this.header.framesPerChunk;
    this.finished = false;
  }

  /** Read the header at the start of the stream. */
  readHeader() {
    return readHeader(this.source.readUpTo(HEADER_BYTES));
  }

  /**
   * Read the next chunk; return null if the trailer is there instead.
   * @returns {StoredChunk | null}
   */
  readChunk() {
    const { source, header } = this;
    const start = source.position;
    const where = this.where();
    const index = this.nextChunk;
    const startFrame = this.nextFrame;
    const tag = source.readVarint(where);
    if (tag === 0) {
      this.finish(start);
      return null;
    }
    const frames = Math.floor(tag / 4);
    let coding = tag % 4;
    let codebooks = header.numCodebooks;
    if (coding === FEWER_CODEBOOKS) [codebooks, coding] = this.readCodebooks(where);
    this.checkFrames(frames, where);
    const size = source.readVarint(where);
    this.checkSize(size, frames * codebooks, where);
    const fields = source.bytes.subarray(start, source.position);
    const storedCrc = view(source.readExactly(CRC_BYTES, where)).getUint32(0, true);
    this.checkEnd(index, source.position + size, where);
    const payload = source.readExactly(size, where);
    this.nextChunk = index + 1;
    this.nextFrame = startFrame + header.framesPerChunk;
    this.index.add(source.position - start);
    compareCrc(storedCrc, chunkCrc(index, fields, payload), where);
    this.nextFrame = startFrame + frames;
    this.checkSurplus(where);
    if (coding !== PACKED && coding !== RANGE_CODED) {
      throw new UnsupportedVersion(
        `${where}: coding ${coding}, expected 0 (packed), 1 (range coded) or 2 (fewer codebooks)`,
      );
    }
    return { index, startFrame, frames, codebooks, coding, payload, size: source.position - start, where };
  }

  /** Return the current place in the stream, for messages. */
  where() {
    const seconds = (this.nextFrame * this.header.hopLength) / this.header.modelSampleRate;
    return `chunk ${this.nextChunk} at byte ${this.source.position} (${seconds.toFixed(2)} s)`;
  }

  /**
   * Read the field of coding 2; return the number of codebooks and the payload's coding.
   * @param {string} where
   * @returns {[number, number]}
   */
  readCodebooks(where) {
    const value = this.source.readVarint(where);
    const codebooks = Math.floor(value / 2);
    const most = this.header.varies ? this.header.numCodebooks - 1 : -1;
    if (codebooks > most) {
      const expected = this.header.varies ? `at most ${most}` : "no chunk of fewer in this stream";
      throw new BitstreamError(`${where}: ${codebooks} codebooks, expected ${expected}`);
    }
    if (!codebooks && value % 2 !== PACKED) {
      throw new BitstreamError(`${where}: silence in coding ${value % 2}, expected ${PACKED}`);
    }
    return [codebooks, value % 2];
  }

  /**
   * @param {number} frames
   * @param {string} where
   */
  checkFrames(frames, where) {
    const { framesPerChunk } = this.header;
    if (this.nextFrame !== this.nextChunk * framesPerChunk) {
      throw new BitstreamError(`${where}: found after a shorter chunk, expected the end`);
    }
    if (!(frames >= 1 && frames <= framesPerChunk)) {
      throw new BitstreamError(`${where}: ${frames} frames, expected 1 to ${framesPerChunk}`);
    }
  }

  /**
   * @param {number} size
   * @param {number} codesPerChannel
   * @param {string} where
   */
  checkSize(size, codesPerChannel, where) {
    const most = packedSize(codesPerChannel * this.header.channels, this.header.bitsPerCode);
    if (size > most) throw new BitstreamError(`${where}: payload of ${size} bytes, expected at most ${most}`);
  }

  /**
   * Check that a chunk ends where the index says.
   * @param {number} index of the chunk
   * @param {number} end
   * @param {string} where
   */
  checkEnd(index, end, where) {
    if (!this.chunkOffsets) return;
    const expected = this.chunkOffsets[index + 1] ?? this.trailer?.offset;
    if (end !== expected) {
      throw new BitstreamError(`${where}: ends at byte ${end}, expected ${expected} as in the index`);
    }
  }

  /**
   * Check the trailer, whose first byte was read at `start`, against all chunks before it; then the copy.
   * @param {number} start
   */
  finish(start) {
    const where = `trailer at byte ${start}`;
    const trailer = this.trailer ?? readTrailer(this.source, start, this.index.sizes.length);
    if (!this.trailer) {
      const same = this.index.sizes.every((byte, place) => byte === trailer.sizes[place]);
      if (!same) {
        throw new BitstreamError(
          `${where}: the index does not give the sizes of the ${this.nextChunk} chunks`,
        );
      }
      this.setNumSamples(trailer, this.nextFrame);
      this.checkSurplus(where);
    } else if (start !== trailer.offset) {
      throw new BitstreamError(`${where}: expected chunk ${this.nextChunk} there, as in the index`);
    } else if (this.tooFew(this.numSamples ?? 0, this.nextFrame)) {
      throw new BitstreamError(
        `${where}: ${tooFewFrames(this.header, this.numSamples ?? 0, this.nextFrame)}`,
      );
    }
    this.finished = true;
    if (trailer.hasCopy) this.checkCopy(trailer.end);
  }

  /**
   * Check that the frames read so far do not last longer than the source and the delay.
   * @param {string} where
   */
  checkSurplus(where) {
    if (this.delay === null || this.numSamples === null) return;
    const most = mostFramesFor(this.header, this.numSamples, this.delay);
    if (this.nextFrame > most) {
      throw new BitstreamError(
        `${where}: ${this.nextFrame} frames for ${this.numSamples} samples, expected at most ${most}`,
      );
    }
  }

  /**
   * Check the copy of the header.
   * @param {number} offset its first byte in the stream
   */
  checkCopy(offset) {
    this.source.position = offset;
    checkCopy(this.source, this.header);
  }

  /** Set index and number of samples from the trailer at the end of the file, if a valid one is there. */
  readIndex() {
    const trailer = findTrailer(this.source.bytes);
    if (!trailer || (!trailer.sizes.length && trailer.offset > HEADER_BYTES)) return;
    const offsets = trailer.chunkOffsets();
    this.setNumSamples(trailer, offsets.length * this.header.framesPerChunk);
    this.chunkOffsets = offsets;
    this.trailer = trailer;
  }

  /**
   * Take the number of samples from the trailer, which cannot exceed that of `mostFrames` frames.
   * @param {Trailer} trailer
   * @param {number} mostFrames
   */
  setNumSamples({ numSamples, where }, mostFrames) {
    const known = this.header.numSamples;
    if (known !== null && numSamples !== known) {
      throw new BitstreamError(`${where}: ${numSamples} samples, expected ${known} as in the header`);
    }
    if (numSamples > MAX_SAMPLES) {
      throw new BitstreamError(`${where}: ${numSamples} samples, expected at most ${MAX_SAMPLES}`);
    }
    if (this.tooFew(numSamples, mostFrames)) {
      throw new BitstreamError(`${where}: ${tooFewFrames(this.header, numSamples, mostFrames)}`);
    }
    this.numSamples = numSamples;
  }

  /**
   * Return true if so many frames cannot hold so many samples.
   * @param {number} numSamples
   * @param {number} frames
   */
  tooFew(numSamples, frames) {
    const { sampleRate, hopLength, modelSampleRate } = this.header;
    return BigInt(frames) * BigInt(sampleRate * hopLength) < BigInt(numSamples) * BigInt(modelSampleRate);
  }
}

/** Reads chunks while the bytes of a stream arrive: `append` bytes, then `take` the chunks that are complete. */
export class StreamReader {
  /** @param {Uint8Array} bytes the start of the stream, at least its header */
  constructor(bytes) {
    this.reader = new Reader(bytes, { whole: false });
  }

  /**
   * Return the chunks that are complete in the bytes so far.
   * @param {Uint8Array} bytes all bytes of the stream that have arrived
   * @param {boolean} ended true if no more will arrive
   * @param {StoredChunk[]} chunks the chunks are appended here, also those before an error
   */
  take(bytes, ended, chunks) {
    const { reader } = this;
    const { source } = reader;
    source.bytes = bytes;
    while (!reader.finished) {
      const start = source.position;
      try {
        const chunk = reader.readChunk();
        if (chunk) chunks.push(chunk);
      } catch (error) {
        if (!(error instanceof Truncated) || ended) throw error;
        source.position = start;
        reader.finished = false;
        return;
      }
    }
  }
}

/**
 * Return the samples at the model's rate by which decoded sound lags: half a frame, for every model.
 * @param {Header} header
 */
export function delayOf({ hopLength }) {
  return hopLength / 2;
}

/**
 * Decode the codes of a chunk; throw BitstreamError if no writer made them.
 * @param {StoredChunk} chunk
 * @param {Header} header
 * @param {Prior | null} prior of the model; range coded chunks need it
 * @returns {Int32Array} codes [channel, frame, codebook]
 */
export function decodeChunk({ coding, frames, codebooks, payload, where }, header, prior) {
  const { channels, bitsPerCode, modelId } = header;
  if (coding === PACKED) return unpack(payload, channels * frames * codebooks, bitsPerCode, where);
  if (!prior) {
    throw new BitstreamError(`${where}: range coded, expected packed or the prior of the model ${modelId}`);
  }
  try {
    checkPrior(header, prior);
  } catch (error) {
    throw new BitstreamError(`${where}: ${/** @type {Error} */ (error).message}`);
  }
  return prior.unpack(payload, channels, frames, codebooks, where);
}
