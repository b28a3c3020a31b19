/**
 * A WebAssembly module with one function, which multiplies integers with SIMD instructions:
 *
 *     multiply(inputs, pairs, kernel, sums, stride):
 *       end = sums + stride
 *       do                                           for each 16 sums
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
 *
 * It is written here instruction by instruction, since the library needs no build step.
 */

/**
 * Adds inputs @ kernel to sums, all given by their addresses.
 * @typedef {(inputs: number, pairs: number, kernel: number, sums: number, stride: number) => void} Multiply
 */

/** @typedef {(number | Code)[]} Code instructions, nested as it is convenient */

// Local variables: the parameters first.
const [INPUTS, PAIRS, KERNEL, SUMS, STRIDE, END, INPUT, ROW, LEFT, TOTAL, TWO] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13,
];
const NUMBER = 0x7f; // types: a 32-bit integer, and 128 bits
const VECTOR = 0x7b;
const LOCALS = [2, 4, NUMBER, 5, VECTOR]; // two groups: four numbers, five vectors

const ADD = 0x6a;
const LESS = 0x49; // unsigned
const ADD_FOUR = [0xfd, 174, 1]; // i32x4.add
const DOT = [0xfd, 186, 1]; // i32x4.dot_i16x8_s
const LOAD_FOUR_TIMES = [0xfd, 9, 0, 0]; // v128.load32_splat
const PARTS = [0, 1, 2, 3];

/** @param {number} local */
const get = (local) => [0x20, local];

/** @param {number} local */
const set = (local) => [0x21, local];

/** @param {number} value */
const constant = (value) => [0x41, leb128(value)];

/** @param {number} offset */
const load = (offset) => [0xfd, 0, 0, offset];

/** @param {number} offset */
const store = (offset) => [0xfd, 11, 0, offset];

/**
 * Add to a local variable.
 * @param {number} local
 * @param {Code} value
 */
const increase = (local, value) => [get(local), value, ADD, set(local)];

/**
 * Repeat instructions while a condition holds.
 * @param {Code} body
 * @param {Code} condition
 */
const doWhile = (body, condition) => [0x03, 0x40, body, condition, 0x0d, 0, 0x0b];

/** @type {Code} */
const PAIR = [
  [get(INPUT), LOAD_FOUR_TIMES, set(TWO)],
  PARTS.map((part) => [
    get(TOTAL + part),
    get(TWO),
    get(ROW),
    load(16 * part),
    DOT,
    ADD_FOUR,
    set(TOTAL + part),
  ]),
  [increase(INPUT, constant(4)), increase(ROW, get(STRIDE)), increase(LEFT, constant(-1))],
];

/** @type {Code} */
const BLOCK = [
  PARTS.map((part) => [get(SUMS), load(16 * part), set(TOTAL + part)]),
  [get(INPUTS), set(INPUT), get(KERNEL), set(ROW), get(PAIRS), set(LEFT)],
  doWhile(PAIR, get(LEFT)),
  PARTS.map((part) => [get(SUMS), get(TOTAL + part), store(16 * part)]),
  [increase(KERNEL, constant(64)), increase(SUMS, constant(64))],
];

/** @type {Code} */
const MULTIPLY = [[get(SUMS), get(STRIDE), ADD, set(END)], doWhile(BLOCK, [get(SUMS), get(END), LESS]), 0x0b];

/** Return the bytes of the module. */
export function simdModule() {
  const body = flat([LOCALS, MULTIPLY]);
  const parameters = [INPUTS, PAIRS, KERNEL, SUMS, STRIDE].map(() => NUMBER);
  const bytes = flat([
    [0, text("asm"), 1, 0, 0, 0],
    section(1, [1, 0x60, parameters.length, parameters, 0]), // the type of the function
    section(2, [1, 3, text("env"), 6, text("memory"), 2, 0, 0]), // the memory that it imports
    section(3, [1, 0]),
    section(7, [1, 8, text("multiply"), 0, 0]),
    section(10, [1, leb128(body.length), body]),
  ]);
  return Uint8Array.from(bytes);
}

/**
 * @param {number} id
 * @param {Code} content
 */
function section(id, content) {
  const bytes = flat(content);
  return [id, leb128(bytes.length), bytes];
}

/**
 * @param {Code} code
 * @returns {number[]}
 */
function flat(code) {
  return code.flatMap((part) => (typeof part === "number" ? part : flat(part)));
}

/** @param {string} word */
function text(word) {
  return Array.from(word, (letter) => letter.charCodeAt(0));
}

/**
 * Return a number as WebAssembly writes it: 7 bits a byte, the least significant first, the sign in the last.
 * @param {number} value
 */
function leb128(value) {
  const data = [];
  for (;;) {
    const low = value & 0x7f;
    value >>= 7;
    const last = value === (low & 0x40 ? -1 : 0);
    data.push(last ? low : low | 0x80);
    if (last) return data;
  }
}
