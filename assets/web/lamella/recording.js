/**
 * A .lam file while its bytes arrive: its header, the chunks so far, and what damage took.
 *
 * Chunks are read one after another as they arrive. After the first damage nothing more is read until all bytes are
 * there. Then the file is recovered as `lamella decompress --recover` does: with the index where there is one.
 */

import { BitstreamError, TooLong } from "./errors.js";
import { joined } from "./fields.js";
import { HEADER_BYTES, framesFor, modelSamples } from "./format.js";
import { StreamReader, delayOf } from "./reader.js";
import { RecoveringReader } from "./recovery.js";

/** @typedef {import("./format.js").Header} Header */
/** @typedef {import("./format.js").StoredChunk} StoredChunk */

/**
 * A gap in a damaged file.
 * @typedef {object} Loss
 * @property {number} first number of the first lost chunk
 * @property {number | null} last number of the last lost chunk; null if the length of the file is unknown
 * @property {number} start seconds
 * @property {number | null} end seconds; null if the length of the file is unknown
 * @property {string} text for people
 */

const MOST_LOST = 86_400; // seconds lost in one place; a file that claims more is not believed
const ALWAYS_ALLOWED = 3_600; // seconds of one channel, whatever the size of the file
const SECONDS_PER_BYTE = (1_000 * 8) / 1_500; // 1,000 times as long as a byte lasts at the lowest bitrate

/** Takes the bytes of a file and gives its chunks. */
export class Recording {
  constructor() {
    /** @type {Header | null} */
    this.header = null;
    /** @type {number | null} source samples in a channel */
    this.numSamples = null;
    /** @type {StoredChunk[]} the chunks so far, in order; numbers may be missing */
    this.chunks = [];
    /** @type {Map<number, number>} number of a chunk -> its place in `chunks` */
    this.places = new Map();
    this.complete = false;
    /** @type {Error | null} the first thing found wrong */
    this.damage = null;
    this.broken = false; // nothing more can be read before all bytes are there
    /** @type {Error | null} why nothing can be decoded, although the header is right */
    this.failure = null;
    /** @type {Loss[]} */
    this.losses = [];
    this.size = 0; // bytes so far
    this.buffer = new Uint8Array(2 ** 16);
    /** @type {StreamReader | null} */
    this.stream = null;
    /** @type {Set<number>} numbers of chunks that cannot be decoded although their checksum is right */
    this.rejected = new Set();
    /** @type {(() => void)[]} */
    this.waiting = [];
    /** @type {() => void} called when anything here has changed */
    this.onchange = () => {};
  }

  /**
   * Take the next bytes of the file.
   * @param {Uint8Array} bytes
   */
  append(bytes) {
    if (this.complete) return;
    if (this.size + bytes.length > this.buffer.length) {
      this.buffer = joined(this.bytes(), new Uint8Array(this.size + bytes.length));
    }
    this.buffer.set(bytes, this.size);
    this.size += bytes.length;
    this.read(false);
    this.changed();
  }

  /**
   * End the file.
   * @param {Error | null} cause why no more bytes arrive, if the file is not whole
   */
  end(cause = null) {
    if (this.complete) return;
    this.read(true);
    if (this.broken) this.recover();
    if (cause) this.damage = cause;
    this.complete = true;
    if (this.header && !this.failure) {
      this.findLosses(this.header);
      this.checkLength(this.header);
    }
    this.changed();
  }

  /** Return the bytes so far. */
  bytes() {
    return this.buffer.subarray(0, this.size);
  }

  /**
   * Wait for the header; throw a BitstreamError if there is none.
   * @returns {Promise<Header>}
   */
  async whenHeader() {
    while (!this.header && !this.complete) await this.change();
    if (this.header) return this.header;
    throw this.damage;
  }

  /**
   * Wait for a chunk; return false if it is lost.
   * @param {number} number
   */
  async chunk(number) {
    while (!this.has(number) && !this.complete) await this.change();
    return this.has(number);
  }

  /**
   * Return a chunk that has arrived.
   * @param {number} number
   */
  stored(number) {
    return this.chunks[/** @type {number} */ (this.places.get(number))];
  }

  /** Wait until all bytes have arrived. */
  async whole() {
    while (!this.complete) await this.change();
  }

  /**
   * Return true if a chunk has arrived and can be decoded.
   * @param {number} number
   */
  has(number) {
    return this.places.has(number) && !this.rejected.has(number);
  }

  /**
   * Return the number of the first chunk from this one on that has arrived; Infinity if none has.
   * @param {number} number
   */
  nextFrom(number) {
    return this.chunks.find(({ index }) => index >= number && this.has(index))?.index ?? Infinity;
  }

  /**
   * Count a chunk as lost because its codes are not valid.
   * @param {number} number
   * @param {Error} error
   */
  reject(number, error) {
    this.rejected.add(number);
    this.damage ??= error;
    if (this.complete && this.header) this.findLosses(this.header);
    this.changed();
  }

  /** Return the seconds whose chunks have arrived in order. */
  loaded() {
    const last = this.chunks.at(-1);
    if (!last || !this.header) return 0;
    return ((last.startFrame + last.frames) * this.header.hopLength) / this.header.modelSampleRate;
  }

  /** Return the number of samples at the model's rate, null while it is unknown. */
  modelSamples() {
    if (!this.header || this.numSamples === null) return null;
    return modelSamples(this.header, this.numSamples);
  }

  /**
   * Return the least number of frames that the undamaged file had; null while its length is unknown.
   * @param {number} latency samples at the model's rate by which decoded sound lags
   */
  totalFrames(latency) {
    const { header, numSamples } = this;
    if (!header || numSamples === null) return null;
    const delay = Math.ceil((latency * header.sampleRate) / header.modelSampleRate);
    return numSamples && framesFor(header, numSamples + delay);
  }

  /** Wait until something has changed. */
  change() {
    return new Promise((resolve) => this.waiting.push(() => resolve(null)));
  }

  changed() {
    for (const resolve of this.waiting.splice(0)) resolve();
    this.onchange();
  }

  /**
   * Read the chunks that are complete in the bytes so far.
   * @param {boolean} ended
   */
  read(ended) {
    if (this.broken || (!ended && this.size < HEADER_BYTES)) return;
    /** @type {StoredChunk[]} */
    const chunks = [];
    try {
      this.stream ??= new StreamReader(this.bytes());
      this.header = this.stream.reader.header;
      this.stream.reader.delay = delayOf(this.header);
      this.stream.take(this.bytes(), ended, chunks);
    } catch (error) {
      if (!(error instanceof BitstreamError)) throw error;
      this.damage ??= error;
      this.broken = true;
    }
    for (const chunk of chunks) this.add(chunk);
    this.numSamples = this.stream?.reader.numSamples ?? null;
  }

  /** Read the intact chunks of the whole file, which is damaged. */
  recover() {
    try {
      const reader = new RecoveringReader(this.bytes());
      this.header = reader.header;
      this.chunks = [];
      this.places.clear();
      for (const chunk of reader.storedChunks()) this.add(chunk);
      this.numSamples = reader.numSamples;
    } catch (error) {
      if (!(error instanceof BitstreamError)) throw error;
      this.failure = error;
    }
  }

  /** @param {StoredChunk} chunk */
  add(chunk) {
    this.places.set(chunk.index, this.chunks.length);
    this.chunks.push(chunk);
  }

  /**
   * List the gaps between the chunks.
   * @param {Header} header
   */
  findLosses(header) {
    this.losses = [];
    let next = 0; // frame
    const total = this.totalFrames(delayOf(header));
    for (const { index, startFrame, frames } of this.chunks) {
      if (this.rejected.has(index) || (total !== null && startFrame >= total)) continue;
      if (startFrame > next) this.losses.push(this.loss(header, next, startFrame));
      next = startFrame + frames;
    }
    const empty = next === 0;
    if (total === null) this.losses.push(this.loss(header, next, null));
    else if (next < total && this.damage) this.losses.push(this.loss(header, next, total));
    const absurd = this.losses.find(({ start, end }) => end !== null && end - start > MOST_LOST);
    if (absurd) {
      this.failure = new BitstreamError(
        `${absurd.text} is lost, expected at most ${showTime(MOST_LOST)} in one place`,
      );
    } else if (empty && total !== 0) {
      this.failure = new BitstreamError("no chunk is left that could be decoded");
    }
  }

  /**
   * Refuse a file of much more sound than its size lets expect: a small one could claim years of silence.
   * @param {Header} header
   */
  checkLength({ sampleRate, channels }) {
    const seconds = this.numSamples === null ? this.loaded() : this.numSamples / sampleRate;
    const most = (ALWAYS_ALLOWED + SECONDS_PER_BYTE * this.size) / channels;
    if (seconds > most) {
      const found = `${seconds.toFixed(0)} s of sound in ${this.size} bytes`;
      this.failure ??= new TooLong(`${found}, expected at most ${most.toFixed(0)} s`);
    }
  }

  /**
   * Return the loss of the frames from `first` up to `stop`.
   * @param {Header} header
   * @param {number} first
   * @param {number | null} stop null if the length of the file is unknown
   * @returns {Loss}
   */
  loss({ hopLength, modelSampleRate, sampleRate, framesPerChunk }, first, stop) {
    const start = (first * hopLength) / modelSampleRate;
    const chunk = Math.floor(first / framesPerChunk);
    if (stop === null) {
      const text = `${showTime(start)} to an unknown end (chunk ${chunk} and all after it)`;
      return { first: chunk, last: null, start, end: null, text };
    }
    const length = this.numSamples === null ? Infinity : this.numSamples / sampleRate;
    const end = Math.min((stop * hopLength) / modelSampleRate, length);
    const last = Math.floor((stop - 1) / framesPerChunk);
    const from = Math.min(start, end);
    const which = chunk === last ? `chunk ${chunk}` : `chunks ${chunk} to ${last}`;
    return { first: chunk, last, start: from, end, text: `${showTime(from)} to ${showTime(end)} (${which})` };
  }
}

/**
 * Return a time as people write it: 62.5 becomes `1:02.50`.
 * @param {number} seconds
 */
export function showTime(seconds) {
  const hundredths = Math.round(seconds * 100);
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(hundredths / 360_000), Math.floor(hundredths / 6000) % 60];
  const clock = hours ? `${hours}:${two(minutes)}` : `${minutes}`;
  return `${clock}:${two(Math.floor(hundredths / 100) % 60)}.${two(hundredths % 100)}`;
}
