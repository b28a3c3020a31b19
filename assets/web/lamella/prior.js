/**
 * The prior: how likely each next code is, given the codes before it in the chunk, in integers only.
 *
 * `codec/bitstream/prior.py` describes it. Every sum here is an integer that its type holds exactly, so any machine
 * reads the codes that were written.
 */

import { checkedSizes } from "./prior-arrays.js";
import { BitstreamError } from "./errors.js";
import { Intervals } from "./intervals.js";
import { fastLayers, plainLayers } from "./layers.js";
import { RangeDecoder, RangeEncoder } from "./rangecoder.js";
import { readTensors } from "./safetensors.js";

/** @typedef {import("./safetensors.js").Tensor} Tensor */
/** @typedef {import("./format.js").Header} Header */
/** @typedef {import("./layers.js").Integers} Integers */
/** @typedef {import("./layers.js").Weights} Weights */

/**
 * Chooses the next number, by its intervals: a decoder reads it, an encoder writes the known one.
 * @typedef {(intervals: Intervals, known: number) => number} Choose
 */

const STEPS_PER_UNIT = 16; // of a latent: the unit of codewords and their sums
const PREDICTION_UNIT = 2 ** 12;
const BASE_LIMIT = 2047;
const MAX_ACTIVATION = 255;

/** A prior that packs and unpacks the codes of chunks. */
export class Prior {
  /**
   * @param {Record<string, Tensor>} tensors the arrays of the layout above; ModelError if they do not fit each other
   * @param {string} name of their file, for messages
   */
  constructor(tensors, name = "prior") {
    this.sizes = checkedSizes(tensors, name);
    const { codebooks, size, groups, members } = this.sizes;
    const data = Object.fromEntries(Object.entries(tensors).map(([key, tensor]) => [key, tensor.data]));
    this.data = /** @type {Record<import("./prior-arrays.js").ArrayName, Integers>} */ (data);
    this.numCodebooks = codebooks;
    this.codebookSize = size;
    this.baseCodebooks = this.data.base_codebooks[0];
    this.resetInterval = this.data.restart_frames[0];
    this.places = inverses(this.data.order, size);
    const weights = weightsOf(this);
    this.layers = (fitsFastLayers(this, weights) && fastLayers(weights)) || plainLayers(weights);
    this.intervals = new Intervals(Math.max(groups, members));
  }

  /**
   * Read the prior of a model; throw ModelError if the file is damaged.
   * @param {Uint8Array} bytes of its safetensors file
   * @param {string} name of the file, for messages
   */
  static fromBytes(bytes, name = "prior.safetensors") {
    return new Prior(readTensors(bytes, name), name);
  }

  /**
   * Range code the codes of a chunk.
   * @param {Int32Array} codes [channel, frame, codebook]
   * @param {number} channels
   * @param {number} frames
   * @param {number} codebooks
   */
  pack(codes, channels, frames, codebooks) {
    const encoder = new RangeEncoder();
    this.walk(codes, channels, frames, codebooks, (intervals, number) => {
      encoder.write(intervals.start(number), intervals.start(number + 1));
      return number;
    });
    return encoder.finish();
  }

  /**
   * Decode the payload of a chunk, the inverse of `pack`; throw BitstreamError if `pack` never writes it.
   * @param {Uint8Array} payload
   * @param {number} channels
   * @param {number} frames
   * @param {number} codebooks
   * @param {string} where the place in the stream, for messages
   * @returns {Int32Array} codes [channel, frame, codebook]
   */
  unpack(payload, channels, frames, codebooks, where) {
    const decoder = new RangeDecoder(payload);
    const codes = new Int32Array(channels * frames * codebooks);
    this.walk(codes, channels, frames, codebooks, (intervals) => {
      const number = intervals.find(decoder.peek());
      decoder.take(intervals.start(number), intervals.start(number + 1));
      return number;
    });
    const fault = decoder.fault();
    if (fault) throw new BitstreamError(`${where}: ${fault}`);
    return codes;
  }

  /**
   * Visit the codes of a chunk in the order in which they are coded, and set each to the one that is chosen.
   * @param {Int32Array} codes [channel, frame, codebook]
   * @param {number} channels
   * @param {number} frames
   * @param {number} codebooks
   * @param {Choose} choose
   */
  walk(codes, channels, frames, codebooks, choose) {
    const { size, narrow, groups, members } = this.sizes;
    const {
      places,
      data: { order },
    } = this;
    const known = new Int32Array(channels);
    const contexts = Array.from({ length: channels }, () => new Context(this, codebooks));
    const hidden = contexts.map(() => new Int32Array(narrow));
    const chosen = new Int32Array(channels);
    for (let frame = 0; frame < frames; frame++) {
      if (frame) for (const context of contexts) context.nextFrame(frame);
      for (let codebook = 0; codebook < codebooks; codebook++) {
        for (let channel = 0; channel < channels; channel++) {
          known[channel] = places[codebook * size + codes[(channel * frames + frame) * codebooks + codebook]];
          this.hide(codebook, contexts[channel].values, hidden[channel]);
          this.score("group", codebook, codebook, hidden[channel]);
          chosen[channel] = choose(this.intervals, Math.floor(known[channel] / members));
        }
        for (let channel = 0; channel < channels; channel++) {
          this.score("place", codebook, codebook * groups + chosen[channel], hidden[channel]);
          const place = choose(this.intervals, known[channel] % members);
          const code = order[codebook * size + chosen[channel] * members + place];
          codes[(channel * frames + frame) * codebooks + codebook] = code;
          contexts[channel].add(codebook, code);
        }
      }
    }
  }

  /**
   * Compute `hidden2` of a codebook.
   * @param {number} codebook
   * @param {Int32Array} context
   * @param {Int32Array} hidden the result
   */
  hide(codebook, context, hidden) {
    const { hidden1, hidden2 } = this.layers;
    hidden1.inputs.set(context);
    hidden1.run(codebook);
    activate(hidden1.sums, this.data["hidden1.shift"][codebook], hidden2.inputs);
    hidden2.run(codebook);
    activate(hidden2.sums, this.data["hidden2.shift"][codebook], hidden);
  }

  /**
   * Fill `intervals` with those of the groups, or of the places in a group.
   * @param {"group" | "place"} name
   * @param {number} codebook
   * @param {number} number of the layer
   * @param {Int32Array} hidden
   */
  score(name, codebook, number, hidden) {
    const layer = this.layers[name];
    layer.inputs.set(hidden);
    layer.run(number);
    this.intervals.fill(layer.sums, this.data[`${name}.shift`][codebook]);
  }
}

/** The context of the codes of one channel of a chunk: first, depth, three vectors of the past and two of the present. */
class Context {
  /**
   * @param {Prior} prior
   * @param {number} depth the number of codebooks of the chunk
   */
  constructor(prior, depth) {
    const { base, dim, context } = prior.sizes;
    this.prior = prior;
    this.values = new Int32Array(context);
    this.values[0] = STEPS_PER_UNIT;
    this.values[1] = depth;
    const [earlier, rest] = [2 + base, 2 + 2 * base];
    const [present, presentRest] = [rest + dim, rest + dim + base];
    this.previousBase = this.values.subarray(2, earlier);
    this.earlierBase = this.values.subarray(earlier, rest);
    this.previousRest = this.values.subarray(rest, present);
    this.base = this.values.subarray(present, presentRest);
    this.rest = this.values.subarray(presentRest);
  }

  /**
   * Add the codeword of a code.
   * @param {number} codebook
   * @param {number} code
   */
  add(codebook, code) {
    const { sizes, data, baseCodebooks } = this.prior;
    const word = (codebook * sizes.size + code) * sizes.dim;
    const sum = codebook < baseCodebooks ? this.base : this.rest;
    for (let place = 0; place < sum.length; place++) sum[place] += data.codewords[word + place];
  }

  /**
   * Begin the next frame.
   * @param {number} frame its number in the chunk
   */
  nextFrame(frame) {
    this.values[0] = 0;
    this.earlierBase.set(this.previousBase);
    this.previousBase.set(this.base);
    this.previousRest.set(this.rest);
    this.rest.fill(0);
    if (frame % this.prior.resetInterval) this.predict();
    else this.base.fill(0);
  }

  /** Predict the base from the one before. */
  predict() {
    const { prediction } = this.prior.data;
    const size = this.base.length;
    for (let column = 0; column < size; column++) {
      let sum = PREDICTION_UNIT / 2;
      for (let row = 0; row < size; row++) sum += this.previousBase[row] * prediction[row * size + column];
      this.base[column] = Math.min(Math.max(Math.floor(sum / PREDICTION_UNIT), -BASE_LIMIT), BASE_LIMIT);
    }
  }
}

/**
 * Throw RangeError unless the prior fits the number and the size of the stream's codebooks.
 * @param {Header} header
 * @param {Prior} prior
 */
export function checkPrior({ bitsPerCode, numCodebooks }, prior) {
  if (prior.codebookSize !== 1 << bitsPerCode || prior.numCodebooks < numCodebooks) {
    throw new RangeError(
      `a prior of ${prior.numCodebooks} codebooks of ${prior.codebookSize} codes, ` +
        `expected ${numCodebooks} or more of ${1 << bitsPerCode} codes`,
    );
  }
}

/**
 * Return the weights of the four layers.
 * @param {Prior} prior
 */
function weightsOf({ data, sizes: { context, wide, narrow, groups, members } }) {
  const layer = (
    /** @type {"hidden1" | "hidden2" | "group" | "place"} */ name,
    /** @type {number} */ inputs,
    /** @type {number} */ outputs,
  ) => ({
    kernel: data[`${name}.kernel`],
    bias: data[`${name}.bias`],
    inputs,
    outputs,
  });
  return {
    hidden1: layer("hidden1", context, wide),
    hidden2: layer("hidden2", wide, narrow),
    group: layer("group", narrow, groups),
    place: layer("place", narrow, members),
  };
}

/**
 * Limit floor(sums / 2^shift) to 0 .. 255.
 * @param {Int32Array | Float64Array} sums
 * @param {number} shift
 * @param {Int32Array | Int16Array | Float64Array} hidden the result
 */
function activate(sums, shift, hidden) {
  const limited = (/** @type {number} */ value) =>
    value < 0 ? 0 : value > MAX_ACTIVATION ? MAX_ACTIVATION : value;
  const fast = sums instanceof Int32Array;
  for (let column = 0; column < hidden.length; column++) {
    const sum = sums[column];
    hidden[column] = limited(fast ? sum >> shift : Math.floor(sum / 2 ** shift));
  }
}

/**
 * Return true if, for any codes, every input fits 16 bits and every sum fits 32 bits.
 * @param {Prior} prior
 * @param {ReturnType<typeof weightsOf>} weights
 */
function fitsFastLayers({ data, sizes, baseCodebooks }, { hidden1, hidden2 }) {
  const { codebooks, size, dim, base, wide } = sizes;
  const baseLimit = new Float64Array(base).fill(BASE_LIMIT);
  const restLimit = new Float64Array(dim);
  for (let codebook = 0; codebook < codebooks; codebook++) {
    const limit = codebook < baseCodebooks ? baseLimit : restLimit;
    const words = data.codewords.subarray(codebook * size * dim, (codebook + 1) * size * dim);
    limit.forEach((sum, place) => (limit[place] = sum + largestAt(words, place, dim)));
  }
  const limits = [
    STEPS_PER_UNIT,
    codebooks,
    ...baseLimit,
    ...baseLimit,
    ...restLimit,
    ...baseLimit,
    ...restLimit,
  ];
  const activations = new Array(wide).fill(MAX_ACTIVATION);
  return (
    limits.every((limit) => limit < 2 ** 15) &&
    largestSum(limits, hidden1) < 2 ** 31 &&
    largestSum(activations, hidden2) < 2 ** 31
  );
}

/**
 * Return the largest absolute value of every `step`-th number.
 * @param {Integers} numbers
 * @param {number} start
 * @param {number} step
 */
function largestAt(numbers, start, step) {
  let largest = 0;
  for (let place = start; place < numbers.length; place += step)
    largest = Math.max(largest, Math.abs(numbers[place]));
  return largest;
}

/**
 * Return the largest sum of absolute values that inputs within limits can make.
 * @param {number[]} limits
 * @param {Weights} weights
 */
function largestSum(limits, { kernel, bias, outputs }) {
  const sums = Float64Array.from(bias, Math.abs);
  for (let start = 0, row = 0; start < kernel.length; start += outputs, row++) {
    const limit = limits[row % limits.length];
    const layer = Math.floor(row / limits.length) * outputs;
    for (let column = 0; column < outputs; column++)
      sums[layer + column] += limit * Math.abs(kernel[start + column]);
  }
  return sums.reduce((a, b) => Math.max(a, b), 0);
}

/**
 * Return the place of each code in the order of its codebook.
 * @param {Integers} order [codebook, size]
 * @param {number} size
 */
function inverses(order, size) {
  const places = new Int32Array(order.length);
  order.forEach((/** @type {number} */ code, /** @type {number} */ index) => {
    places[index - (index % size) + code] = index % size;
  });
  return places;
}
