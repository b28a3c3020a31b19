/** The arrays of a prior, as `codec/bitstream/prior_arrays.py` lists them: their types, shapes and limits. */

import { ModelError } from "./errors.js";

/** @typedef {import("./safetensors.js").Tensor} Tensor */
/** @typedef {keyof typeof LAYOUT} ArrayName */

const MAX_SHIFT = 30;
const MAX_BIAS = 2 ** 22;

/** Name of an array, its type and the names of its dimensions. */
const LAYOUT = /** @type {const} */ ({
  codewords: ["I8", "codebooks", "size", "dim"],
  order: ["I16", "codebooks", "size"],
  prediction: ["I16", "base", "base"],
  base_codebooks: ["I32"],
  restart_frames: ["I32"],
  "hidden1.kernel": ["I16", "codebooks", "context", "wide"],
  "hidden1.bias": ["I32", "codebooks", "wide"],
  "hidden1.shift": ["I32", "codebooks"],
  "hidden2.kernel": ["I16", "codebooks", "wide", "narrow"],
  "hidden2.bias": ["I32", "codebooks", "narrow"],
  "hidden2.shift": ["I32", "codebooks"],
  "group.kernel": ["I8", "codebooks", "narrow", "groups"],
  "group.bias": ["I32", "codebooks", "groups"],
  "group.shift": ["I32", "codebooks"],
  "place.kernel": ["I8", "codebooks", "groups", "narrow", "members"],
  "place.bias": ["I32", "codebooks", "groups", "members"],
  "place.shift": ["I32", "codebooks"],
});

/** @type {Record<string, number>} */
const MAX_SIZES = { codebooks: 2 ** 8, size: 2 ** 14, dim: 2 ** 10, wide: 2 ** 10, narrow: 2 ** 7 };

/** @type {Record<string, [number, number]>} smallest and largest value, where not all values are allowed */
const LIMITS = {
  base_codebooks: [1, 2 ** 8],
  restart_frames: [1, 2 ** 16],
  "hidden1.shift": [0, MAX_SHIFT],
  "hidden2.shift": [0, MAX_SHIFT],
  "group.shift": [0, MAX_SHIFT],
  "group.bias": [-MAX_BIAS, MAX_BIAS],
  "place.shift": [0, MAX_SHIFT],
  "place.bias": [-MAX_BIAS, MAX_BIAS],
};

/**
 * Check the arrays of a prior; return the sizes of its dimensions by name.
 * @param {Record<string, Tensor>} tensors
 * @param {string} name of their file
 */
export function checkedSizes(tensors, name) {
  /** @type {Record<string, number>} */
  const sizes = {};
  const wrong = [...new Set([...Object.keys(tensors), ...Object.keys(LAYOUT)])].filter(
    (key) => !(key in tensors && key in LAYOUT),
  );
  if (wrong.length) throw new ModelError(`${name}: arrays ${wrong.sort().join(", ")} are missing or unknown`);
  for (const key of /** @type {(ArrayName)[]} */ (Object.keys(LAYOUT))) {
    checkTensor(key, tensors[key], sizes, name);
  }
  const { base, dim, size, groups, members } = sizes;
  const context = 2 + 3 * base + 2 * dim;
  if (sizes.context !== context || base > dim) {
    throw new ModelError(`${name}: a context of ${sizes.context}, expected ${context}`);
  }
  if (groups * members !== size) {
    throw new ModelError(`${name}: ${groups} groups of ${members}, expected ${size} in all`);
  }
  const order = tensors.order.data;
  for (let start = 0; start < order.length; start += size) {
    const seen = new Set(order.subarray(start, start + size));
    if (seen.size !== size || [...seen].some((code) => code < 0 || code >= size)) {
      throw new ModelError(`${name}: an order that does not contain each code exactly once`);
    }
  }
  return /** @type {Record<"codebooks" | "size" | "dim" | "base" | "context" | "wide" | "narrow" | "groups" | "members", number>} */ (
    sizes
  );
}

/**
 * Check one array against the layout, and its shape against the `sizes` seen so far, which it extends.
 * @param {ArrayName} key
 * @param {Tensor} tensor
 * @param {Record<string, number>} sizes
 * @param {string} name
 */
function checkTensor(key, { dtype, shape, data }, sizes, name) {
  const [kind, ...dimensions] = LAYOUT[key];
  if (dtype !== kind || shape.length !== dimensions.length) {
    const expected = `${kind} of ${dimensions.length} dimensions`;
    throw new ModelError(`${name}: ${key} is ${dtype} of ${shape.length} dimensions, expected ${expected}`);
  }
  dimensions.forEach((dimension, place) => {
    const size = shape[place];
    sizes[dimension] ??= size;
    if (sizes[dimension] !== size || size < 1 || size > (MAX_SIZES[dimension] ?? size)) {
      throw new ModelError(`${name}: ${key} has shape ${shape}, which does not fit: ${dimension} ${size}`);
    }
  });
  const [low, high] = LIMITS[key] ?? [-Infinity, Infinity];
  if (data.some((/** @type {number} */ value) => value < low || value > high)) {
    throw new ModelError(`${name}: ${key} has values outside ${low} to ${high}`);
  }
}
