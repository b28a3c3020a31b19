/** The sound of a recording from any sample on, block by block, while its bytes arrive. */

import { DecoderStream } from "./decoder.js";
import { BitstreamError } from "./errors.js";
import { decodeChunk } from "./reader.js";

/** @typedef {import("./decoder.js").Part} Part */
/** @typedef {import("./format.js").Header} Header */
/** @typedef {import("./format.js").StoredChunk} StoredChunk */
/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./prior.js").Prior} Prior */
/** @typedef {import("./recording.js").Recording} Recording */

/**
 * Samples of all channels at the model's rate.
 * @typedef {object} Block
 * @property {number} sample number of the first one
 * @property {Float32Array[]} channels left and right, or each channel on its own
 */

const FIRST_FRAMES = 10; // that are decoded alone, so that the first sound comes soon

/**
 * Yield the samples from `start` to `end`, a second or less at a time; damage is concealed.
 *
 * They equal those of decoding from the start: decoding begins some chunks earlier, and their sound is dropped.
 *
 * @param {Recording} recording whose header has arrived
 * @param {Model} model that made it
 * @param {number} start number of a sample at the model's rate
 * @param {number} end
 * @param {AbortSignal} [signal] ends the decoding, also while sound before `start` is decoded
 * @returns {AsyncGenerator<Block, void>}
 */
export async function* blocks(recording, model, start, end = Infinity, signal) {
  const header = await recording.whenHeader();
  const { manifest } = model;
  const { hop_length: hop, latency } = manifest;
  const settled = Math.floor((start + latency) / hop) - manifest.run_in_frames;
  const first = Math.floor(Math.max(0, settled) / header.framesPerChunk);
  const [graph, prior] = await Promise.all([model.decoder(), model.prior()]);
  const decoder = new DecoderStream(graph, manifest, header.channels, first * header.framesPerChunk);
  /** @type {Block} */
  let held = { sample: decoder.nextFrame * hop - latency, channels: [] };
  for await (const sound of sounds(recording, decoder, prior, header)) {
    if (signal?.aborted) return;
    held.channels = held.channels.length
      ? sound.map((samples, n) => appended(held.channels[n], samples))
      : sound;
    const available = held.sample + held.channels[0].length;
    const ready = Math.min(end, recording.modelSamples() ?? available - hop);
    const [block, rest] = split(held, start, ready);
    held = rest;
    if (block.channels[0].length) yield block;
    if (held.sample >= Math.min(end, recording.modelSamples() ?? Infinity)) return;
  }
  if (held.channels.length) {
    const [block] = split(held, start, Math.min(end, recording.modelSamples() ?? Infinity));
    if (block.channels[0].length) yield block;
  }
}

/**
 * Yield the sound of all frames from the next one of the decoder on, a second or less at a time.
 * @param {Recording} recording
 * @param {DecoderStream} decoder
 * @param {Prior | null} prior
 * @param {Header} header
 */
async function* sounds(recording, decoder, prior, header) {
  const { reset_interval: second, latency } = decoder.manifest;
  let most = Math.min(FIRST_FRAMES, second);
  for (;;) {
    const gap = await gapAt(recording, decoder.nextFrame, header, latency);
    if (recording.failure) throw recording.failure;
    if (gap === 0) return;
    for (let left = gap ?? 0; left > 0; left -= second) yield decoder.conceal(Math.min(left, second));
    if (gap !== null) continue;
    const { codes, chunk } = decodedFrom(recording, decoder.nextFrame / header.framesPerChunk, header, prior);
    if (!chunk) continue; // it was rejected, and is a gap now
    for (let start = 0; start < chunk.frames && !chunk.codebooks; start += second) {
      yield decoder.silence(Math.min(second, chunk.frames - start));
    }
    for (let start = 0; start < chunk.frames && chunk.codebooks;) {
      const frames = Math.min(most, second - (start % second), chunk.frames - start);
      const part = { codes, chunkFrames: chunk.frames, codebooks: chunk.codebooks, start, frames };
      start += frames;
      most = second;
      const parts =
        start < chunk.frames ? [part] : [part, ...following(recording, chunk, second, header, prior)];
      yield decoder.decode(parts);
    }
  }
}

/**
 * Wait until the chunk of a frame has arrived or is lost; return the number of frames that are lost, 0 at the end of
 * the recording, and null if the chunk is there.
 * @param {Recording} recording
 * @param {number} frame
 * @param {Header} header
 * @param {number} latency
 */
async function gapAt(recording, frame, { framesPerChunk }, latency) {
  if (frame === recording.totalFrames(latency)) return 0;
  const number = frame / framesPerChunk;
  if (Number.isInteger(number) && (await recording.chunk(number))) return null;
  await recording.whole(); // the last chunk was a shorter one, or this one is lost
  const total = recording.totalFrames(latency);
  const stop = Math.min(recording.nextFrom(Math.ceil(number)) * framesPerChunk, total ?? Infinity);
  return stop === Infinity ? 0 : Math.max(0, stop - frame);
}

/**
 * Return parts of the chunks after one, as far as they have arrived and fit into a second with it. Chunks of a frame are
 * decoded together so, which is faster.
 * @param {Recording} recording
 * @param {StoredChunk} chunk
 * @param {number} second frames
 * @param {Header} header
 * @param {Prior | null} prior
 */
function following(recording, chunk, second, header, prior) {
  /** @type {Part[]} */
  const parts = [];
  let left = second - (chunk.frames % second || second);
  for (
    let number = chunk.index + 1;
    chunk.frames === header.framesPerChunk && recording.has(number);
    number++
  ) {
    const next = recording.stored(number);
    if (next.frames > left || !next.codebooks) break;
    const { codes, chunk: decoded } = decodedFrom(recording, number, header, prior);
    if (!decoded) break;
    parts.push({ codes, chunkFrames: next.frames, codebooks: next.codebooks, start: 0, frames: next.frames });
    left -= next.frames;
  }
  return parts;
}

/**
 * Decode the codes of a chunk that has arrived; a chunk that no writer made is rejected.
 * @param {Recording} recording
 * @param {number} number
 * @param {Header} header
 * @param {Prior | null} prior
 * @returns {{codes: Int32Array, chunk: StoredChunk | null}}
 */
function decodedFrom(recording, number, header, prior) {
  const chunk = recording.stored(number);
  try {
    return { codes: decodeChunk(chunk, header, prior), chunk };
  } catch (error) {
    if (!(error instanceof BitstreamError)) throw error;
    recording.reject(number, error);
    return { codes: new Int32Array(0), chunk: null };
  }
}

/**
 * Split a block: the samples from `start` to `end`, and those after `end`. Those before `start` are dropped.
 * @param {Block} block
 * @param {number} start
 * @param {number} end
 * @returns {[Block, Block]}
 */
function split({ sample, channels }, start, end) {
  const length = channels[0].length;
  const [from, to] = [start - sample, end - sample].map((place) => Math.min(Math.max(place, 0), length));
  const cut = (/** @type {number} */ first, /** @type {number} */ last) => ({
    sample: sample + first,
    channels: channels.map((samples) => samples.subarray(first, last)),
  });
  return [cut(Math.min(from, to), to), cut(Math.max(from, to), length)];
}

/**
 * @param {Float32Array} first
 * @param {Float32Array} second
 */
function appended(first, second) {
  if (!first.length) return second;
  const whole = new Float32Array(first.length + second.length);
  whole.set(first);
  whole.set(second, first.length);
  return whole;
}
