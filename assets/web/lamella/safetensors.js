/** Reads integer arrays from a safetensors file: 8 bytes length, a JSON header, then the arrays. */

import { ModelError } from "./errors.js";
import { view } from "./fields.js";

const MAX_HEADER = 2 ** 20; // bytes
const KINDS = { I8: Int8Array, I16: Int16Array, I32: Int32Array };

/**
 * An array of integers.
 * @typedef {object} Tensor
 * @property {"I8" | "I16" | "I32"} dtype
 * @property {number[]} shape
 * @property {Int8Array | Int16Array | Int32Array} data
 */

/**
 * Read all arrays; throw ModelError if the file is damaged.
 * @param {Uint8Array} bytes
 * @param {string} name of the file, for messages
 * @returns {Record<string, Tensor>}
 */
export function readTensors(bytes, name) {
  const size = bytes.length < 8 ? Infinity : Number(view(bytes).getBigUint64(0, true));
  if (size > MAX_HEADER || size > bytes.length - 8)
    throw new ModelError(`${name}: no safetensors file, or cut short`);
  /** @type {Record<string, Tensor>} */
  const tensors = {};
  for (const [key, entry] of Object.entries(parsed(bytes.subarray(8, 8 + size), name))) {
    if (key !== "__metadata__") tensors[key] = tensor(entry, bytes.subarray(8 + size), `${name}: ${key}`);
  }
  return tensors;
}

/**
 * @param {Uint8Array} header
 * @param {string} name
 * @returns {Record<string, any>}
 */
function parsed(header, name) {
  try {
    return Object(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(header)));
  } catch {
    throw new ModelError(`${name}: its header is not JSON`);
  }
}

/**
 * @param {any} entry
 * @param {Uint8Array} content
 * @param {string} where
 * @returns {Tensor}
 */
function tensor(entry, content, where) {
  const dtype = /** @type {keyof typeof KINDS} */ (entry?.dtype);
  const Kind = KINDS[dtype];
  if (!Kind) throw new ModelError(`${where} is ${dtype}, expected ${Object.keys(KINDS).join(", ")}`);
  const { shape, data_offsets: offsets } = entry;
  const whole = [shape, offsets].every(
    (list) => Array.isArray(list) && list.every((size) => Number.isInteger(size) && size >= 0),
  );
  const count = whole ? shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1) : -1;
  if (!whole || offsets[1] > content.length || offsets[1] - offsets[0] !== count * Kind.BYTES_PER_ELEMENT) {
    throw new ModelError(`${where}: its size does not fit the file`);
  }
  return { dtype, shape, data: new Kind(new Uint8Array(content.subarray(...offsets)).buffer) }; // copied, for its alignment
}
