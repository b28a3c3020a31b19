/**
 * The dense layers of the prior, in integers: sums = inputs @ kernel + bias.
 *
 * `fastLayers` computes them in WebAssembly with 16-bit inputs and weights, ten times as fast. It is exact where no sum
 * can exceed 32 bits, which holds for the priors that Lamella trains. `plainLayers` is exact for every prior.
 */

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
      if (input) for (let column = 0; column < width; column++) sums[column] += input * kernel[start + column];
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

/**
 * Adds inputs @ kernel to sums, all given by their addresses.
 * @typedef {(inputs: number, pairs: number, kernel: number, sums: number, stride: number) => void} Multiply
 */

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
    for (let to = pair * rowSize + (input & 1), end = from + width; from < end; to += 2) paired[to] = kernel[from++];
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
      cache = new WebAssembly.Module(moduleBytes());
    } catch {
      cache = null; // no WebAssembly, no SIMD, or forbidden by the page's security policy
    }
  }
  return cache;
}

/**
 * Return a WebAssembly module with one function:
 *
 *     multiply(inputs, pairs, kernel, sums, stride):
 *       end = sums + stride
 *       do                                           for each 16 outputs
 *         total0, total1, total2, total3 = sums[0 .. 16]
 *         input, row, left = inputs, kernel, pairs
 *         do                                         for each two inputs
 *           two = the pair of 16-bit numbers at `input`, four times
 *           total0 += two . row[0 .. 4]              each 32-bit sum gets both products
 *           total1 += two . row[4 .. 8] ..
 *           input, row, left = input + 4, row + stride, left - 1
 *         while left
 *         sums[0 .. 16] = total0, total1, total2, total3
 *         kernel, sums = kernel + 64, sums + 64
 *       while sums < end
 */
function moduleBytes() {
  const [inputs, pairs, kernel, sums, stride, end, input, row, left, total, two] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13];
  const [i32, v128] = [0x7f, 0x7b];
  const get = (/** @type {number} */ local) => [0x20, local];
  const set = (/** @type {number} */ local) => [0x21, local];
  const plus = (/** @type {number} */ local, /** @type {number[]} */ value) => [...get(local), ...value, 0x6a, ...set(local)];
  const number = (/** @type {number} */ value) => [0x41, ...leb128(value, true)];
  const loop = (/** @type {number[]} */ body, /** @type {number[]} */ again) => [0x03, 0x40, ...body, ...again, 0x0d, 0, 0x0b];
  const simd = (/** @type {number} */ opcode, /** @type {number[]} */ rest = []) => [0xfd, ...leb128(opcode), ...rest];
  const load = (/** @type {number} */ offset) => simd(0, [0, offset]);
  const store = (/** @type {number} */ offset) => simd(11, [0, offset]);
  const splat = simd(9, [0, 0]);
  const dot = simd(186);
  const add = simd(174);
  const each = (/** @type {(part: number) => number[]} */ code) => [0, 1, 2, 3].flatMap(code);
  const pair = [
    ...[...get(input), ...splat, ...set(two)],
    ...each((part) => [
      ...[...get(total + part), ...get(two), ...get(row), ...load(16 * part)],
      ...[...dot, ...add, ...set(total + part)],
    ]),
    ...[...plus(input, number(4)), ...plus(row, get(stride)), ...plus(left, number(-1))],
  ];
  const block = [
    ...each((part) => [...get(sums), ...load(16 * part), ...set(total + part)]),
    ...[...get(inputs), ...set(input), ...get(kernel), ...set(row), ...get(pairs), ...set(left)],
    ...loop(pair, get(left)),
    ...each((part) => [...get(sums), ...get(total + part), ...store(16 * part)]),
    ...[...plus(kernel, number(64)), ...plus(sums, number(64))],
  ];
  const code = [
    ...[...get(sums), ...get(stride), 0x6a, ...set(end)],
    ...loop(block, [...get(sums), ...get(end), 0x49]),
  ];
  const locals = [2, 4, i32, 5, v128];
  const body = [...locals, ...code, 0x0b];
  const section = (/** @type {number} */ id, /** @type {number[]} */ content) => [id, ...leb128(content.length), ...content];
  return Uint8Array.from([
    ...[0, ...text("asm"), 1, 0, 0, 0],
    ...section(1, [1, 0x60, 5, i32, i32, i32, i32, i32, 0]),
    ...section(2, [1, 3, ...text("env"), 6, ...text("memory"), 2, 0, 0]),
    ...section(3, [1, 0]),
    ...section(7, [1, 8, ...text("multiply"), 0, 0]),
    ...section(10, [1, ...leb128(body.length), ...body]),
  ]);
}

/** @param {string} word */
function text(word) {
  return Array.from(word, (letter) => letter.charCodeAt(0));
}

/**
 * Return a number as WebAssembly writes it: 7 bits a byte, the least significant first.
 * @param {number} value
 * @param {boolean} signed
 */
function leb128(value, signed = false) {
  const data = [];
  for (;;) {
    const low = value & 0x7f;
    value >>= 7;
    const last = signed ? value === (low & 0x40 ? -1 : 0) : value === 0;
    data.push(last ? low : low | 0x80);
    if (last) return data;
  }
}
