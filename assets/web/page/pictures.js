/** Draw a sound over time: waveform, spectrogram and bits. */

import { BANDS, bandFrequency } from "./analysis.js";
import { showBitrate } from "./words.js";

const PAUSE = 100; // milliseconds between two drawings
const QUIETEST = 0.1; // a waveform that stays below is not drawn any larger

/**
 * What the pictures show.
 * @typedef {object} Picture
 * @property {import("./analysis.js").Analysis} analysis
 * @property {number} seconds length of the sound as far as it is known
 * @property {{start: number, seconds: number, bits: number}[]} chunks in the order of time
 * @property {{start: number, end: number}[]} losses in seconds
 */

/** Three canvases, drawn again when the sound, their size or the colours of the page change. */
export class Pictures {
  /**
   * @param {{waveform: HTMLCanvasElement, spectrogram: HTMLCanvasElement, bits: HTMLCanvasElement}} canvases
   */
  constructor(canvases) {
    this.canvases = canvases;
    /** @type {Picture | null} */
    this.picture = null;
    this.waiting = false;
    this.image = document.createElement("canvas"); // the spectrogram, a pixel for each column and band
    const redraw = () => this.update();
    for (const canvas of Object.values(canvases)) new ResizeObserver(redraw).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }

  /** Draw soon; many calls before that draw once. */
  update() {
    if (this.waiting) return;
    this.waiting = true;
    const draw = () => {
      this.waiting = false;
      if (this.picture) this._draw(this.picture);
    };
    setTimeout(() => requestAnimationFrame(draw), PAUSE);
  }

  /** @param {Picture} picture */
  _draw(picture) {
    const colours = pageColours();
    this._drawOn("waveform", (context, width, height) => {
      drawWaveform(context, width, height, picture, colours);
      drawLosses(context, width, height, picture, colours);
    });
    this._drawOn("spectrogram", (context, width, height) => {
      this._drawSpectrogram(context, width, height, picture, colours);
      drawLosses(context, width, height, picture, colours);
      drawFrequencies(context, height, picture.analysis.sampleRate, colours);
    });
    this._drawOn("bits", (context, width, height) => drawBits(context, width, height, picture, colours));
  }

  /** Call `paint` with a cleared context in CSS pixels. */
  _drawOn(name, paint) {
    const canvas = this.canvases[name];
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    const scale = devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    context.scale(canvas.width / width, canvas.height / height);
    paint(context, width, height);
  }

  _drawSpectrogram(context, width, height, picture, colours) {
    const { analysis, seconds } = picture;
    if (!analysis.columns || !seconds) return;
    this.image.width = analysis.columns;
    this.image.height = BANDS;
    const pixels = this.image.getContext("2d").createImageData(analysis.columns, BANDS);
    const words = new Uint32Array(pixels.data.buffer);
    const ramp = colourRamp(colours);
    for (let column = 0; column < analysis.columns; column++) {
      if (!analysis.known[column]) continue;
      for (let band = 0; band < BANDS; band++) {
        words[(BANDS - 1 - band) * analysis.columns + column] = ramp[analysis.spectra[column * BANDS + band]];
      }
    }
    this.image.getContext("2d").putImageData(pixels, 0, 0);
    const shown = (analysis.columns * analysis.columnSeconds * width) / seconds;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.image, 0, 0, shown, height);
  }
}

/** Return the colours of the page's style sheet by name. */
function pageColours() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  return {
    ramp: [0, 1, 2, 3].map((number) => colour(`--picture-${number}`)),
    wave: colour("--picture-wave"),
    bits: colour("--picture-bits"),
    lost: colour("--picture-lost"),
    text: colour("--text"),
    softText: colour("--soft-text"),
    card: colour("--card"),
  };
}

/** Return 256 colours as canvas pixels, from the lowest to the highest level. */
function colourRamp(colours) {
  const stops = colours.ramp.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return Uint32Array.from({ length: 256 }, (_, level) => {
    const place = (level / 255) * (stops.length - 1);
    const from = Math.min(stops.length - 2, Math.floor(place));
    const mix = (n) => Math.round(stops[from][n] + (place - from) * (stops[from + 1][n] - stops[from][n]));
    return (0xff000000 | (mix(2) << 16) | (mix(1) << 8) | mix(0)) >>> 0;
  });
}

function drawWaveform(context, width, height, { analysis, seconds }, colours) {
  if (!seconds) return;
  const middle = height / 2;
  const loudest = Math.max(...analysis.high, ...analysis.low.map((level) => -level));
  const scale = (middle - 3) / Math.max(QUIETEST, loudest);
  const pixelsPerColumn = (analysis.columnSeconds * width) / seconds;
  context.fillStyle = colours.wave;
  const step = Math.max(1, Math.floor(0.5 / pixelsPerColumn)); // columns that one bar stands for
  for (let first = 0; first < analysis.columns; first += step) {
    let [low, high, known] = [0, 0, false];
    for (let column = first; column < Math.min(first + step, analysis.columns); column++) {
      low = Math.min(low, analysis.low[column]);
      high = Math.max(high, analysis.high[column]);
      known ||= analysis.known[column] === 1;
    }
    if (!known) continue;
    const [top, bottom] = [middle - high * scale, middle - low * scale];
    context.fillRect(first * pixelsPerColumn, Math.min(top, middle - 0.5), step * pixelsPerColumn + 0.3, Math.max(1, bottom - top));
  }
}

/** Draw the frequencies of a few lines of the spectrogram. */
function drawFrequencies(context, height, sampleRate, colours) {
  const edges = Array.from({ length: BANDS + 1 }, (_, band) => bandFrequency(band, sampleRate));
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  for (const frequency of [500, 2000, 8000]) {
    const band = edges.findIndex((edge) => edge >= frequency);
    if (band < 0 || band > 0.93 * BANDS) continue;
    label(context, frequency < 1000 ? `${frequency} Hz` : `${frequency / 1000} kHz`, 6, height * (1 - band / BANDS), colours);
  }
}

/** Draw the bitrate of each chunk. */
function drawBits(context, width, height, { chunks, seconds }, colours) {
  if (!seconds || !chunks.length) return;
  const rates = chunks.map((chunk) => chunk.bits / chunk.seconds);
  const longest = Math.max(...chunks.map((chunk) => chunk.seconds));
  const usual = rates.filter((_, number) => chunks[number].seconds > longest / 2); // a short last chunk is mostly header
  const most = Math.max(...usual, 1);
  context.fillStyle = colours.bits;
  chunks.forEach((chunk, number) => {
    const left = (chunk.start * width) / seconds;
    const right = Math.min(width, ((chunk.start + chunk.seconds) * width) / seconds);
    const gap = right - left > 6 ? 1 : 0;
    const bar = Math.max(1, Math.min(1, rates[number] / most) * (height - 24));
    context.fillRect(left, height - bar, Math.max(0.5, right - left - gap), bar);
  });
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  label(context, `${showBitrate(most)} at most`, 6, 12, colours);
}

/** Hatch what was lost. */
function drawLosses(context, width, height, { losses, seconds }, colours) {
  if (!seconds) return;
  for (const loss of losses) {
    const left = (loss.start * width) / seconds;
    const size = Math.max(2, ((Math.min(loss.end, seconds) - loss.start) * width) / seconds);
    context.save();
    context.beginPath();
    context.rect(left, 0, size, height);
    context.clip();
    context.globalAlpha = 0.16;
    context.fillStyle = colours.lost;
    context.fillRect(left, 0, size, height);
    context.globalAlpha = 0.6;
    context.strokeStyle = colours.lost;
    context.beginPath();
    for (let x = left - height; x < left + size; x += 9) {
      context.moveTo(x, height);
      context.lineTo(x + height, 0);
    }
    context.stroke();
    context.restore();
  }
}

/** Draw a small label on a plate that keeps it readable over any picture. */
function label(context, text, x, y, colours) {
  const width = context.measureText(text).width;
  context.globalAlpha = 0.75;
  context.fillStyle = colours.card;
  context.beginPath();
  context.roundRect(x - 3, y - 8, width + 6, 16, 3);
  context.fill();
  context.globalAlpha = 1;
  context.fillStyle = colours.softText;
  context.fillText(text, x, y);
}
