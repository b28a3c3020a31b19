/**
 * The dense layers of the prior, in integers: sums = inputs @ kernel + bias.
 *
 * `fastLayers` computes them in WebAssembly with 16-bit inputs and weights, ten times as fast. It is exact where no sum
 * can exceed 32 bits, which holds for the priors that Lamella trains. `plainLayers` is exact for every prior.
 */

import { simdModule } from "./simd.js";

/** @typedef {import("./simd.js").Multiply} Multiply */
/** @typedef {Int8Array | Int16Array | Int32Array} Integers */

/**
 * The weights of one or more layers of the same size.
 * @typedef {object} Weights
 * @property {Integers} kernel [layer, input, output]
 * @property {Integers} bias [layer, output]
 * @property {number} inputs how many
 * @property {number} outputs how many
 */

/**
 * Layers of the same size that share their inputs and sums.
 * @typedef {object} Layer
 * @property {Int16Array | Float64Array} inputs set these
 * @property {Int32Array | Float64Array} sums the result
 * @property {(number: number) => void} run computes the sums of the layer with this number
 */

/**
 * Return layers that compute in float64, which holds all integers below 2^53.
 * @param {Record<string, Weights>} weights by name
 * @returns {Record<string, Layer>}
 */
export function plainLayers(weights) {
  return Object.fromEntries(Object.entries(weights).map(([name, layer]) => [name, plainLayer(layer)]));
}

/**
 * @param {Weights} weights
 * @returns {Layer}
 */
function plainLayer({ kernel, bias, inputs: count, outputs: width }) {
  const inputs = new Float64Array(count);
  const sums = new Float64Array(width);
  const run = (/** @type {number} */ number) => {
    sums.set(bias.subarray(number * width, (number + 1) * width));
    for (let row = 0; row < count; row++) {
      const start = (number * count + row) * width;
      const input = inputs[row];
      if (input)
        for (let column = 0; column < width; column++) sums[column] += input * kernel[start + column];
    }
  };
  return { inputs, sums, run };
}

const BLOCK = 16; // outputs that the WebAssembly function computes at a time

/**
 * Return layers that compute in WebAssembly; null where it has no SIMD instructions.
 * @param {Record<string, Weights>} weights by name
 * @returns {Record<string, Layer> | null}
 */
export function fastLayers(weights) {
  const module = compiled();
  if (!module) return null;
  const sizes = Object.values(weights).map(sizeOf);
  const bytes = sizes.reduce((sum, { inputs, sums, kernels }) => sum + inputs + sums + kernels, 0);
  const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536) });
  const { multiply } = new WebAssembly.Instance(module, { env: { memory } }).exports;
  let place = 0;
  const layers = Object.entries(weights).map(([name, layer], index) => {
    const fast = fastLayer(layer, memory.buffer, place, /** @type {Multiply} */ (multiply));
    place += sizes[index].inputs + sizes[index].sums + sizes[index].kernels;
    return [name, fast];
  });
  return Object.fromEntries(layers);
}

/** @param {Weights} weights */
function sizeOf({ bias, inputs, outputs }) {
  const pairs = Math.ceil(inputs / 2);
  const stride = Math.ceil(outputs / BLOCK) * BLOCK * 4; // bytes of the sums, and of two rows of a kernel
  const count = bias.length / outputs;
  return { pairs, stride, inputs: Math.ceil(pairs / 4) * 16, sums: stride, kernels: count * pairs * stride };
}

/**
 * @param {Weights} weights
 * @param {ArrayBuffer} buffer
 * @param {number} address of the inputs, which sums and kernels follow
 * @param {Multiply} multiply
 * @returns {Layer}
 */
function fastLayer(weights, buffer, address, multiply) {
  const { kernel, bias, inputs: count, outputs: width } = weights;
  const size = sizeOf(weights);
  const sumsAt = address + size.inputs;
  const kernelsAt = sumsAt + size.sums;
  const inputs = new Int16Array(buffer, address, count);
  const sums = new Int32Array(buffer, sumsAt, width);
  const paired = new Int16Array(buffer, kernelsAt, size.kernels / 2); // [layer, pair of inputs, output, 2]
  const rowSize = size.stride / 2;
  for (let row = 0, from = 0; from < kernel.length; row++) {
    const input = row % count;
    const pair = Math.floor(row / count) * size.pairs + (input >> 1);
    for (let to = pair * rowSize + (input & 1), end = from + width; from < end; to += 2)
      paired[to] = kernel[from++];
  }
  const run = (/** @type {number} */ number) => {
    sums.set(bias.subarray(number * width, (number + 1) * width));
    multiply(address, size.pairs, kernelsAt + number * size.pairs * size.stride, sumsAt, size.stride);
  };
  return { inputs, sums, run };
}

/** @type {WebAssembly.Module | null | undefined} */
let cache;

function compiled() {
  if (cache === undefined) {
    try {
      cache = new WebAssembly.Module(simdModule());
    } catch {
      cache = null; // no WebAssembly, no SIMD, or forbidden by the page's security policy
    }
  }
  return cache;
}
