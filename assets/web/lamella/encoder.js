/** Sound to the bytes of a .lam file, live or of known length. */

import { joined } from "./fields.js";
import { checkRange, defaultFramesPerChunk } from "./format.js";
import { Writer } from "./writer.js";

/** @typedef {import("./model.js").Graph} Graph */
/** @typedef {import("./model.js").Manifest} Manifest */
/** @typedef {import("./prior.js").Prior} Prior */

/**
 * @typedef {object} EncoderOptions
 * @property {number} channels 1 to 8; two are coded as mid and side, others each on its own
 * @property {number} numCodebooks codes in a frame and channel
 * @property {number | null} numSamples in each channel; null for a live stream, whose length is not known yet
 */

/** Codes sound: `start`, `push` and `finish` return the bytes that are ready, one part after another. */
export class EncoderStream {
  /**
   * @param {Graph} graph the encoder
   * @param {Manifest} manifest of the model
   * @param {Prior | null} prior of the model
   * @param {EncoderOptions} options
   */
  constructor(graph, manifest, prior, { channels, numCodebooks, numSamples }) {
    checkRange("channels", channels, 1, 8);
    checkRange("num_codebooks", numCodebooks, manifest.base_codebooks, manifest.num_codebooks);
    const sizes = {
      channels,
      numCodebooks,
      bitsPerCode: Math.log2(manifest.codebook_size),
      hopLength: manifest.hop_length,
      modelSampleRate: manifest.sample_rate,
    };
    const framesPerChunk = defaultFramesPerChunk(sizes);
    const rest = { sampleRate: manifest.sample_rate, numSamples, modelId: manifest.model_id, varies: false };
    this.writer = new Writer({ ...sizes, ...rest, framesPerChunk }, prior);
    this.graph = graph;
    this.manifest = manifest;
    this.header = this.writer.header;
    this.state = graph.initialState(channels);
    this.numSamples = 0; // pushed so far
    this.numFrames = 0; // coded so far
    /** @type {Float32Array[]} a channel each, less than a step */
    this.waiting = Array.from({ length: channels }, () => new Float32Array(0));
    /** @type {Int32Array[]} [channel, codebook] of each frame, less than a chunk */
    this.coded = [];
  }

  /** Return the bytes that begin the file. */
  start() {
    return this.writer.start();
  }

  /**
   * Take samples at the model's rate, any number of them.
   * @param {Float32Array[]} samples a channel each, within -1 to 1
   * @returns {Promise<Uint8Array>}
   */
  async push(samples) {
    this.check(samples);
    this.numSamples += samples[0].length;
    this.waiting = this.waiting.map((before, channel) => concatenated(before, samples[channel]));
    const step = this.manifest.reset_interval * this.manifest.hop_length;
    while (this.waiting[0].length >= step) {
      const block = this.waiting.map((channel) => channel.subarray(0, step));
      this.waiting = this.waiting.map((channel) => channel.slice(step));
      await this.encode(block);
    }
    return joined(...this.wholeChunks(this.header.framesPerChunk));
  }

  /**
   * End the file. Push nothing after it.
   * @returns {Promise<Uint8Array>}
   */
  async finish() {
    // The decoded sound lags: its last samples need the silence that follows them.
    const silence = new Float32Array(this.numSamples ? this.manifest.latency : 0);
    this.waiting = this.waiting.map((channel) => concatenated(channel, silence));
    if (this.waiting[0].length) await this.encode(this.waiting);
    const chunks = this.wholeChunks(this.header.framesPerChunk);
    if (this.coded.length) chunks.push(...this.wholeChunks(this.coded.length));
    return joined(...chunks, this.writer.finish(this.numSamples));
  }

  /** @param {Float32Array[]} samples */
  check(samples) {
    const { channels } = this.header;
    if (samples.length !== channels || samples.some((channel) => channel.length !== samples[0].length)) {
      const found = samples.map((channel) => channel.length).join(", ");
      throw new RangeError(`channels of ${found} samples, expected ${channels} of the same length`);
    }
    if (!samples.every((channel) => channel.every(Number.isFinite))) {
      throw new RangeError("`samples` must be finite numbers, found NaN or infinity");
    }
  }

  /**
   * Code samples; a last frame that is not full is filled with zeros.
   * @param {Float32Array[]} samples
   */
  async encode(samples) {
    const { reset_interval: interval, hop_length: hop, num_codebooks: columns } = this.manifest;
    const { channels, framesPerChunk, numCodebooks } = this.header;
    const length = samples[0].length;
    const frames = Math.ceil(length / hop);
    const resets = new Uint8Array(channels * frames);
    resets.forEach((_, place) => {
      const frame = (this.numFrames + (place % frames)) % framesPerChunk;
      resets[place] = Number(frame % interval === 0);
    });
    const inputs = {
      audio: this.graph.tensor("float32", concatenated(...midAndSide(samples)), [channels, length, 1]),
      resets: this.graph.tensor("bool", resets, [channels, frames]),
      num_codebooks: this.graph.tensor("int32", Int32Array.of(numCodebooks), [1]),
    };
    const { outputs, state } = await this.graph.run(inputs, this.state);
    this.state = state;
    const codes = /** @type {Int32Array} */ (outputs.codes.data);
    for (let frame = 0; frame < frames; frame++) {
      const row = new Int32Array(channels * numCodebooks);
      for (let channel = 0; channel < channels; channel++) {
        const start = (channel * frames + frame) * columns;
        row.set(codes.subarray(start, start + numCodebooks), channel * numCodebooks);
      }
      this.coded.push(row);
    }
    this.numFrames += frames;
  }

  /**
   * Return the bytes of all whole chunks.
   * @param {number} frames of a chunk
   */
  wholeChunks(frames) {
    const { channels, numCodebooks } = this.header;
    const chunks = [];
    while (this.coded.length >= frames) {
      const codes = new Int32Array(channels * frames * numCodebooks);
      this.coded.splice(0, frames).forEach((row, frame) => {
        for (let channel = 0; channel < channels; channel++) {
          const part = row.subarray(channel * numCodebooks, (channel + 1) * numCodebooks);
          codes.set(part, (channel * frames + frame) * numCodebooks);
        }
      });
      chunks.push(this.writer.chunk(codes));
    }
    return chunks;
  }
}

/**
 * Return mid and side of two channels; others as they are.
 * @param {Float32Array[]} samples
 */
function midAndSide(samples) {
  if (samples.length !== 2) return samples;
  const [left, right] = samples;
  return [
    left.map((value, time) => (value + right[time]) / 2),
    left.map((value, time) => (value - right[time]) / 2),
  ];
}

/** @param {...Float32Array} parts */
function concatenated(...parts) {
  const whole = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}
