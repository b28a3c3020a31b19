/**
 * Codes to sound, from any chunk on and across gaps, as `codec/coding/decoder_stream.py` does.
 *
 * Lost frames are concealed: the quantizer predicts them from the last frame, and the sound fades to silence. A chunk
 * of no codebook is silence: the sound before it is continued too, but fades within the latency of the decoder.
 */

/** @typedef {import("./model.js").Graph} Graph */
/** @typedef {import("./model.js").State} State */
/** @typedef {import("./model.js").Manifest} Manifest */

const HOLD_SECONDS = 0.04; // of a loss, after which the concealment begins to fade
const FADE_SECONDS = 0.2; // of a loss, after which it has faded to silence

/**
 * Codes that follow each other in a chunk.
 * @typedef {object} Part
 * @property {Int32Array} codes [channel, frame, codebook] of the whole chunk
 * @property {number} chunkFrames frames of the whole chunk
 * @property {number} codebooks 1 or more
 * @property {number} start number of the first frame of the part in the chunk
 * @property {number} frames of the part
 */

/** Decodes a stream. Each method takes the next frames and returns their sound, `latency` samples late. */
export class DecoderStream {
  /**
   * @param {Graph} graph the decoder
   * @param {Manifest} manifest of the model
   * @param {number} channels
   * @param {number} firstFrame number of the first frame, which must be the first of a chunk
   */
  constructor(graph, manifest, channels, firstFrame) {
    this.graph = graph;
    this.manifest = manifest;
    this.channels = channels;
    this.nextFrame = firstFrame;
    this.state = this.initialState();
    this.audible = Math.ceil((FADE_SECONDS * manifest.sample_rate) / manifest.hop_length); // frames of a loss
    this.lost = this.audible; // frames in a row; before the first frame there is nothing to continue
    this.gain = 1; // at the end of the sound so far
  }

  /**
   * Decode codes.
   * @param {Part[]} parts
   * @returns {Promise<Float32Array[]>} a channel each
   */
  async decode(parts) {
    const { num_codebooks: columns, reset_interval: interval, hop_length: hop } = this.manifest;
    const frames = parts.reduce((sum, part) => sum + part.frames, 0);
    const codes = new Int32Array(this.channels * frames * columns).fill(-1);
    const resets = new Uint8Array(this.channels * frames);
    for (let channel = 0; channel < this.channels; channel++) {
      let frame = channel * frames;
      for (const part of parts) {
        const first = channel * part.chunkFrames + part.start;
        for (let number = 0; number < part.frames; number++, frame++) {
          const row = (first + number) * part.codebooks;
          codes.set(part.codes.subarray(row, row + part.codebooks), frame * columns);
          resets[frame] = Number((part.start + number) % interval === 0);
        }
      }
    }
    const sound = await this.run(codes, resets, frames);
    if (this.gain < 1) {
      fade(sound, (time) => 1 - (1 - this.gain) * falling(time / hop), hop);
    }
    this.lost = 0;
    this.gain = 1;
    this.nextFrame += frames;
    return sound;
  }

  /**
   * Take the place of lost frames.
   * @param {number} frames how many
   * @returns {Promise<Float32Array[]>}
   */
  async conceal(frames) {
    const { sample_rate: rate, hop_length: hop } = this.manifest;
    const audible = Math.min(frames, Math.max(0, this.audible - this.lost));
    const sound = await this.expected(frames, audible);
    const gain = (/** @type {number} */ time) =>
      falling(((this.lost * hop + time) / rate - HOLD_SECONDS) / (FADE_SECONDS - HOLD_SECONDS));
    fade(sound, gain, audible * hop);
    this.gain = gain(frames * hop - 1);
    this.lost += frames;
    this.nextFrame += frames;
    if (this.lost > this.audible) this.state = this.initialState();
    return sound;
  }

  /**
   * Take the place of frames of no codebook.
   * @param {number} frames how many
   * @returns {Promise<Float32Array[]>}
   */
  async silence(frames) {
    const { latency } = this.manifest;
    const sound = await this.expected(frames, this.lost < this.audible ? 1 : 0);
    fade(
      sound,
      (time) => (time < latency ? this.gain * falling(time / latency) : 0),
      frames * this.manifest.hop_length,
    );
    this.nextFrame += frames;
    this.state = this.initialState();
    this.lost = this.audible;
    this.gain = 1;
    return sound;
  }

  /**
   * Return the sound that the quantizer expects for the first frames, and silence after them.
   * @param {number} frames in all
   * @param {number} audible of them
   */
  async expected(frames, audible) {
    const { num_codebooks: columns, hop_length: hop } = this.manifest;
    const sound = Array.from({ length: this.channels }, () => new Float32Array(frames * hop));
    if (audible) {
      const codes = new Int32Array(this.channels * audible * columns).fill(-1);
      const decoded = await this.run(codes, new Uint8Array(this.channels * audible), audible);
      decoded.forEach((samples, channel) => sound[channel].set(samples));
    }
    return sound;
  }

  /**
   * @param {Int32Array} codes [channel, frame, codebook]
   * @param {Uint8Array} resets [channel, frame]
   * @param {number} frames
   */
  async run(codes, resets, frames) {
    const { num_codebooks: columns } = this.manifest;
    const inputs = {
      codes: this.graph.tensor("int32", codes, [this.channels, frames, columns]),
      resets: this.graph.tensor("bool", resets, [this.channels, frames]),
    };
    const { outputs, state } = await this.graph.run(inputs, this.state);
    this.state = state;
    const samples = /** @type {Float32Array} */ (outputs.audio.data);
    const length = samples.length / this.channels;
    const sound = Array.from({ length: this.channels }, (_, channel) =>
      samples.slice(channel * length, (channel + 1) * length),
    );
    if (this.channels === 2) toLeftAndRight(sound[0], sound[1]);
    return sound;
  }

  /** Return the state after silence, with the noise of the next frame. */
  initialState() {
    const state = this.graph.initialState(this.channels);
    const { channel_noise_offset: offset, noise_period: period } = this.manifest;
    const numbers = /** @type {Int32Array} */ (state.frame.data);
    numbers.forEach((_, channel) => (numbers[channel] = (2 * this.nextFrame + offset * channel) % period));
    return state;
  }
}

/**
 * Replace mid and side by left and right.
 * @param {Float32Array} mid
 * @param {Float32Array} side
 */
function toLeftAndRight(mid, side) {
  for (let time = 0; time < mid.length; time++) {
    const [m, s] = [mid[time], side[time]];
    mid[time] = m + s;
    side[time] = m - s;
  }
}

/**
 * Multiply the first samples of all channels by a gain.
 * @param {Float32Array[]} sound
 * @param {(time: number) => number} gain of the sample with this number
 * @param {number} count of samples
 */
function fade(sound, gain, count) {
  for (let time = 0; time < count; time++) {
    const factor = gain(time);
    for (const samples of sound) samples[time] *= factor;
  }
}

/**
 * Return a smooth fall from 1 at time 0 and before to 0 at time 1 and after.
 * @param {number} time
 */
function falling(time) {
  return Math.cos((Math.PI / 2) * Math.min(Math.max(time, 0), 1)) ** 2;
}
