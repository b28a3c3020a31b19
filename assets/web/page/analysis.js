/** Measure a sound while it is decoded: its loudest samples and its spectrum, column by column. */

export const BANDS = 96; // rows of the spectrogram, evenly spaced on the mel scale
const MOST_COLUMNS = 4096; // beyond that, two columns become one
const SHORTEST_COLUMN = 0.002; // seconds
const FIRST_COLUMN = 0.01; // seconds, while the length of the sound is unknown
const LONGEST_HOP = 0.04; // seconds between two spectra
const WINDOW = 0.024; // seconds of a spectrum
const FLOOR_DB = -95; // becomes 0
const TOP_DB = -20; // becomes 255

/**
 * The columns of a sound's pictures.
 *
 * Samples arrive in pieces in any order. A column covers `columnSeconds`; it is `known` once samples of it have arrived.
 */
export class Analysis {
  /**
   * @param {number} sampleRate Hz
   * @param {number | null} seconds length of the sound, if it is known
   */
  constructor(sampleRate, seconds) {
    this.sampleRate = sampleRate;
    const wanted = seconds === null ? FIRST_COLUMN : Math.max(SHORTEST_COLUMN, seconds / (MOST_COLUMNS / 2));
    this.columnSamples = Math.max(1, Math.round(wanted * sampleRate));
    this.columns = 0;
    this.known = new Uint8Array(MOST_COLUMNS);
    this.low = new Float32Array(MOST_COLUMNS);
    this.high = new Float32Array(MOST_COLUMNS);
    this.spectra = new Uint8Array(MOST_COLUMNS * BANDS); // lowest band first
    this.fft = new Spectrum(sampleRate, WINDOW);
    this.tail = new Float32Array(0); // samples before the next ones, for a spectrum that begins in them
    this.next = 0; // number of the sample after the last ones
  }

  /** Seconds of one column. */
  get columnSeconds() {
    return this.columnSamples / this.sampleRate;
  }

  /**
   * Take a piece of sound.
   * @param {number} start number of its first sample
   * @param {Float32Array[]} channels
   */
  add(start, channels) {
    const length = channels[0].length;
    this._makeRoom(start + length);
    this._measureLevels(start, channels, length);
    this._measureSpectra(start, mixed(channels, length));
  }

  /** Measure the last spectra, after all samples have arrived. */
  finish() {
    this._measureSpectra(this.next, new Float32Array(this.fft.size / 2));
  }

  /** @param {number} samples */
  _makeRoom(samples) {
    while (samples > this.columnSamples * MOST_COLUMNS) this._halve();
    this.columns = Math.max(this.columns, Math.ceil(samples / this.columnSamples));
  }

  /** Make one column of two. */
  _halve() {
    for (let to = 0; to < MOST_COLUMNS / 2; to++) {
      const [a, b] = [2 * to, 2 * to + 1];
      this.known[to] = this.known[a] | this.known[b];
      this.low[to] = Math.min(this.low[a], this.low[b]);
      this.high[to] = Math.max(this.high[a], this.high[b]);
      for (let band = 0; band < BANDS; band++) {
        const [x, y] = [this.spectra[a * BANDS + band], this.spectra[b * BANDS + band]];
        this.spectra[to * BANDS + band] = Math.max(x, y);
      }
    }
    this.known.fill(0, MOST_COLUMNS / 2);
    this.low.fill(0, MOST_COLUMNS / 2);
    this.high.fill(0, MOST_COLUMNS / 2);
    this.spectra.fill(0, (MOST_COLUMNS / 2) * BANDS);
    this.columnSamples *= 2;
    this.columns = Math.ceil(this.columns / 2);
  }

  _measureLevels(start, channels, length) {
    let at = 0;
    while (at < length) {
      const column = Math.floor((start + at) / this.columnSamples);
      const stop = Math.min(length, (column + 1) * this.columnSamples - start);
      let [low, high] = this.known[column] ? [this.low[column], this.high[column]] : [0, 0];
      for (const samples of channels) {
        for (let n = at; n < stop; n++) {
          if (samples[n] < low) low = samples[n];
          else if (samples[n] > high) high = samples[n];
        }
      }
      [this.low[column], this.high[column], this.known[column]] = [low, high, 1];
      at = stop;
    }
  }

  /** Measure spectra whose middles are `hop` samples apart, from all samples that are there. */
  _measureSpectra(start, samples) {
    const size = this.fft.size;
    const joined = start === this.next ? concatenated(this.tail, samples) : concatenated(new Float32Array(size / 2), samples);
    const first = start + samples.length - joined.length; // number of the first sample in `joined`
    const hop = Math.min(this.columnSamples, Math.round(LONGEST_HOP * this.sampleRate));
    let middle = Math.ceil((first + size / 2) / hop) * hop;
    for (; middle + size / 2 <= first + joined.length; middle += hop) {
      const column = Math.floor(middle / this.columnSamples);
      if (column >= this.columns) return;
      this.fft.measure(joined, middle - size / 2 - first, this.spectra, column * BANDS);
    }
    this.tail = joined.slice(Math.max(0, Math.min(joined.length, middle - size / 2 - first)));
    this.next = start + samples.length;
  }
}

/** A short-time spectrum in mel bands, as decibels from 0 to 255. */
class Spectrum {
  /**
   * @param {number} sampleRate Hz
   * @param {number} seconds shortest length of a window
   */
  constructor(sampleRate, seconds) {
    this.size = 2 ** Math.ceil(Math.log2(seconds * sampleRate));
    this.window = Float32Array.from({ length: this.size }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / this.size));
    this.real = new Float32Array(this.size);
    this.imaginary = new Float32Array(this.size);
    this.cosines = Float32Array.from({ length: this.size / 2 }, (_, n) => Math.cos((2 * Math.PI * n) / this.size));
    this.sines = Float32Array.from({ length: this.size / 2 }, (_, n) => Math.sin((2 * Math.PI * n) / this.size));
    this.edges = Array.from({ length: BANDS + 1 }, (_, band) => bandFrequency(band, sampleRate) * (this.size / sampleRate));
  }

  /**
   * Measure a window of samples and keep the larger of old and new value in each band.
   * @param {Float32Array} samples
   * @param {number} start first sample of the window
   * @param {Uint8Array} target
   * @param {number} at place of the lowest band in `target`
   */
  measure(samples, start, target, at) {
    for (let n = 0; n < this.size; n++) this.real[n] = samples[start + n] * this.window[n];
    this.imaginary.fill(0);
    this._transform();
    for (let band = 0; band < BANDS; band++) {
      const first = Math.round(this.edges[band]);
      const last = Math.min(this.size / 2, Math.max(first, Math.round(this.edges[band + 1]) - 1));
      let power = 0;
      for (let bin = first; bin <= last; bin++) {
        power = Math.max(power, this.real[bin] ** 2 + this.imaginary[bin] ** 2);
      }
      const decibels = 10 * Math.log10(power / (this.size / 4) ** 2 + 1e-20);
      const shown = Math.max(0, Math.min(255, Math.round((255 * (decibels - FLOOR_DB)) / (TOP_DB - FLOOR_DB))));
      target[at + band] = Math.max(target[at + band], shown);
    }
  }

  /** Transform in place: the radix-2 fast Fourier transform. */
  _transform() {
    const { size, real, imaginary } = this;
    for (let n = 1, reversed = 0; n < size; n++) {
      let bit = size >> 1;
      for (; reversed & bit; bit >>= 1) reversed ^= bit;
      reversed ^= bit;
      if (n < reversed) [real[n], real[reversed]] = [real[reversed], real[n]];
    }
    for (let length = 2; length <= size; length *= 2) {
      const [half, step] = [length / 2, size / length];
      for (let start = 0; start < size; start += length) {
        for (let n = 0; n < half; n++) {
          const [a, b] = [start + n, start + n + half];
          const [cosine, sine] = [this.cosines[n * step], this.sines[n * step]];
          const re = real[b] * cosine + imaginary[b] * sine;
          const im = imaginary[b] * cosine - real[b] * sine;
          real[b] = real[a] - re;
          imaginary[b] = imaginary[a] - im;
          real[a] += re;
          imaginary[a] += im;
        }
      }
    }
  }
}

/**
 * Return the lower edge of a band in Hz.
 * @param {number} band 0 .. BANDS
 * @param {number} sampleRate Hz
 */
export function bandFrequency(band, sampleRate) {
  const top = Math.log10(1 + sampleRate / 2 / 700);
  return 700 * (10 ** ((band / BANDS) * top) - 1);
}

/** Return the mean of the channels. */
function mixed(channels, length) {
  if (channels.length === 1) return channels[0];
  const mix = new Float32Array(length);
  for (const samples of channels) for (let n = 0; n < length; n++) mix[n] += samples[n] / channels.length;
  return mix;
}

/** Return one array of two. */
function concatenated(a, b) {
  const both = new Float32Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
