/** Writes a stream of chunks in the layout of `format.js`. */

import { joined, varint } from "./fields.js";
import {
  FEWER_CODEBOOKS,
  HEADER_BYTES,
  MAX_SAMPLES,
  PACKED,
  RANGE_CODED,
  checkRange,
  checkedHeader,
  chunkBytes,
  framesFor,
  headerBytes,
  tooFewFrames,
} from "./format.js";
import { pack } from "./packing.js";
import { checkPrior } from "./prior.js";
import { Index, ending } from "./trailer.js";

/** @typedef {import("./format.js").Header} Header */
/** @typedef {import("./prior.js").Prior} Prior */

/** Writes a stream: `start`, `chunk` for each chunk, then `finish` return its bytes, one part after another. */
export class Writer {
  /**
   * @param {Header} header of the stream; RangeError for a value outside the limits
   * @param {Prior | null} prior of the model, if any: a chunk is range coded if that takes fewer bytes than packing
   */
  constructor(header, prior) {
    this.header = checkedHeader(header);
    if (prior) checkPrior(header, prior);
    this.prior = prior;
    this.numFrames = 0; // written so far
    this.size = HEADER_BYTES; // bytes written so far
    this.index = new Index();
  }

  /** Return the header. */
  start() {
    return headerBytes(this.header);
  }

  /**
   * Return a chunk of framesPerChunk frames, or fewer in the last one.
   * @param {Int32Array} codes [channel, frame, codebook]
   * @param {number} codebooks how many; fewer than in the header if the stream varies, and none for silence
   */
  chunk(codes, codebooks = this.header.numCodebooks) {
    const { channels, numCodebooks, framesPerChunk, varies } = this.header;
    const frames = codebooks ? codes.length / (channels * codebooks) : framesPerChunk;
    checkRange("codebooks", codebooks, varies ? 0 : numCodebooks, numCodebooks);
    checkRange("frames", frames, 1, framesPerChunk);
    if (this.numFrames % framesPerChunk) {
      throw new RangeError(`only the last chunk may have fewer than ${framesPerChunk} frames`);
    }
    const [coding, payload] = this.payload(codes, frames, codebooks);
    const tag =
      codebooks === numCodebooks
        ? varint(frames * 4 + coding)
        : joined(varint(frames * 4 + FEWER_CODEBOOKS), varint(codebooks * 2 + coding));
    const data = chunkBytes(this.numFrames / framesPerChunk, joined(tag, varint(payload.length)), payload);
    this.numFrames += frames;
    this.size += data.length;
    this.index.add(data.length);
    return data;
  }

  /**
   * Return the trailer, with a copy of the header unless the file is very short.
   * @param {number} numSamples source samples in a channel
   */
  finish(numSamples) {
    const { header, numFrames } = this;
    if (header.numSamples !== null && numSamples !== header.numSamples) {
      throw new RangeError(`${numSamples} samples, expected ${header.numSamples} as in the header`);
    }
    checkRange("num_samples", numSamples, 0, MAX_SAMPLES);
    if (numFrames < framesFor(header, numSamples))
      throw new RangeError(tooFewFrames(header, numSamples, numFrames));
    return ending(this.index, numSamples, header, this.size);
  }

  /**
   * Return coding and payload: the coding with fewer bytes, or packed if equal.
   * @param {Int32Array} codes
   * @param {number} frames
   * @param {number} codebooks
   * @returns {[number, Uint8Array]}
   */
  payload(codes, frames, codebooks) {
    const packed = pack(codes, this.header.bitsPerCode);
    if (!this.prior || !codebooks) return [PACKED, packed];
    const coded = this.prior.pack(codes, this.header.channels, frames, codebooks);
    return coded.length < packed.length ? [RANGE_CODED, coded] : [PACKED, packed];
  }
}
