/**
 * Turns scores into the intervals of the range coder, with integers only, as `codec/bitstream/intervals.py` describes:
 *
 *     gap     = floor(largest score - score)
 *     weight  = floor(2^(16 - gap / 256)), 0 where gap is 4096 or more
 *     start   = number + floor(sum of the weights of smaller numbers * (2^16 - size) / sum of all weights)
 */

import { TOTAL } from "./rangecoder.js";

const STEPS = 256; // of a factor of two
const WEIGHTS = weights();

/** The intervals of `size` numbers. It is filled again for each code, so that nothing is allocated. */
export class Intervals {
  /** @param {number} most the largest `size` */
  constructor(most) {
    this.sums = new Float64Array(most + 1);
    this.size = 0;
  }

  /**
   * @param {Int32Array | Float64Array} sums the scores times 2^shift
   * @param {number} shift
   */
  fill(sums, shift) {
    const size = sums.length;
    let largest = sums[0];
    for (let number = 1; number < size; number++) largest = Math.max(largest, sums[number]);
    let total = 0;
    for (let number = 0; number < size; number++) {
      this.sums[number] = total;
      total += WEIGHTS[Math.min((largest - sums[number]) >> shift, WEIGHTS.length - 1)];
    }
    this.sums[size] = total;
    this.size = size;
  }

  /**
   * Return where the interval of a number starts, which is where the one before it ends.
   * @param {number} number
   */
  start(number) {
    // Below 2^53, and the quotient is below 2^16: the division never rounds up to a whole number.
    return Math.floor((this.sums[number] * (TOTAL - this.size)) / this.sums[this.size]) + number;
  }

  /**
   * Return the number whose interval contains a place in 0 .. 2^16.
   * @param {number} place
   */
  find(place) {
    let low = 0;
    for (let high = this.size; high - low > 1;) {
      const middle = (low + high) >> 1;
      if (this.start(middle) <= place) low = middle;
      else high = middle;
    }
    return low;
  }
}

/**
 * Return the table of floor(2^(16 - gap / 256)) for each gap, with a 0 at the end.
 *
 * The powers of the first 256 gaps are at least 0.0005 away from a whole number, but for the first, which is one. So
 * their floor is right wherever `**` is right to nine digits. The others are these shifted right, which is exact.
 */
function weights() {
  const table = new Int32Array(16 * STEPS + 1);
  for (let gap = 0; gap < 16 * STEPS; gap++) {
    table[gap] = Math.floor(2 ** (16 - (gap % STEPS) / STEPS)) >> Math.floor(gap / STEPS);
  }
  return table;
}
