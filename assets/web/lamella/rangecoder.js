/**
 * An integer range coder, as described in `codec/bitstream/rangecoder.py`.
 *
 * A symbol is one of several intervals that fill 0 .. 2^16. All numbers are integers below 2^53, so they are exact.
 */

export const TOTAL = 2 ** 16; // of all counts

const FULL = 2 ** 32; // of the range, and of the window on `low`
const LEAST = 2 ** 24; // below it a byte is written
const WINDOW = 4; // bytes

/** Encodes symbols, each given as the `start` and `end` of its interval of 0 .. 2^16. */
export class RangeEncoder {
  constructor() {
    this.low = 0;
    this.width = FULL - 1;
    /** @type {number[]} */
    this.written = [];
  }

  /**
   * @param {number} start
   * @param {number} end
   */
  write(start, end) {
    const unit = Math.floor(this.width / TOTAL);
    this.low += start * unit;
    this.width = (end - start) * unit;
    if (this.low >= FULL) {
      this.low -= FULL;
      carry(this.written);
    }
    while (this.width < LEAST) {
      this.written.push(Math.floor(this.low / LEAST));
      this.low = (this.low % LEAST) * 256;
      this.width *= 256;
    }
  }

  /** Return all bytes. Write nothing afterwards. */
  finish() {
    if (roundest(this.low, this.width) >= FULL) carry(this.written);
    return Uint8Array.from([...this.written, ...lastBytes(this.low, this.width)]);
  }
}

/**
 * Decodes bytes: `peek` gives a number inside the interval of the next symbol, and `take` moves past it. Reading never
 * fails, for any bytes. Afterwards, `fault` says whether an encoder wrote them.
 */
export class RangeDecoder {
  /** @param {Uint8Array} payload */
  constructor(payload) {
    this.payload = payload;
    this.next = 0;
    this.offset = 0; // of the window from low
    this.range = FULL - 1;
    this.valid = true;
    while (this.next < WINDOW) this.offset = this.offset * 256 + this.nextByte();
  }

  /** Return a number in 0 .. 2^16 inside the interval of the next symbol. */
  peek() {
    const place = Math.floor(this.offset / Math.floor(this.range / TOTAL));
    if (place < TOTAL) return place;
    this.valid = false;
    return TOTAL - 1;
  }

  /**
   * Move past the symbol whose interval is `start` .. `end`.
   * @param {number} start
   * @param {number} end
   */
  take(start, end) {
    const unit = Math.floor(this.range / TOTAL);
    this.range = (end - start) * unit;
    this.offset = Math.min(this.offset - start * unit, this.range - 1);
    while (this.range < LEAST) {
      this.offset = this.offset * 256 + this.nextByte();
      this.range *= 256;
    }
  }

  /** Return the next byte, zero after the last one. */
  nextByte() {
    return this.next < this.payload.length ? this.payload[this.next++] : this.next++ * 0;
  }

  /** Return why no encoder writes these bytes for the symbols read; empty if valid. */
  fault() {
    if (!this.valid) return "bytes that no encoder writes: they point past the last interval";
    if (this.next > this.payload.length + WINDOW) return `${this.payload.length} bytes, expected more`;
    const rest = this.payload.subarray(this.next - WINDOW);
    let window = 0;
    for (let place = 0; place < WINDOW; place++) window = window * 256 + (rest[place] ?? 0);
    const low = (window - this.offset + FULL) % FULL;
    const expected = lastBytes(low, this.range);
    if (rest.length === expected.length && expected.every((byte, place) => byte === rest[place])) return "";
    return `ends in ${shown(rest)}, expected ${shown(expected)}`;
  }
}

/**
 * Add 1 to the bytes as one number. It cannot overflow, since all intervals lie below 1.
 * @param {number[]} written
 */
function carry(written) {
  let place = written.length - 1;
  while (written[place] === 0xff) written[place--] = 0;
  written[place] += 1;
}

/**
 * Return the 0 to 4 bytes of the window that end the encoded bytes.
 * @param {number} low
 * @param {number} width
 */
function lastBytes(low, width) {
  let number = roundest(low, width) % FULL;
  /** @type {number[]} */
  const data = [];
  for (; number; number = (number % LEAST) * 256) data.push(Math.floor(number / LEAST));
  return data;
}

/**
 * Return the number in low .. low + width (exclusive) that ends in the most zero bits.
 * @param {number} low
 * @param {number} width
 */
function roundest(low, width) {
  for (let unit = FULL; ; unit /= 2) {
    const rounded = Math.ceil(low / unit) * unit;
    if (rounded < low + width) return rounded;
  }
}

/** @param {ArrayLike<number>} data */
function shown(data) {
  return Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join(" ") || "nothing";
}
