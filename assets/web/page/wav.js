/** Write WAV files: 16 bits, or 32-bit floating point. */

const HEADER_BYTES = 44;
const PCM = 1;
const FLOAT = 3;

/**
 * Return a WAV file of 16-bit samples; what is beyond full scale is limited to it.
 * @param {Float32Array[][]} blocks of samples, each with one array a channel
 * @param {number} sampleRate Hz
 * @param {number} channels
 * @returns {Blob}
 */
export function wavOf(blocks, sampleRate, channels) {
  return packed(blocks, sampleRate, channels, PCM, (samples) => {
    return Int16Array.from(samples, (sample) => Math.max(-32768, Math.min(32767, Math.round(sample * 32768))));
  });
}

/**
 * Return a WAV file of 32-bit floating point samples, exactly as they are; arguments as of `wavOf`.
 * @returns {Blob}
 */
export function floatWavOf(blocks, sampleRate, channels) {
  return packed(blocks, sampleRate, channels, FLOAT, (samples) => samples);
}

function packed(blocks, sampleRate, channels, format, convert) {
  const parts = blocks.map((block) => convert(interleaved(block)));
  const size = parts.reduce((sum, part) => sum + part.byteLength, 0);
  return new Blob([header(size, sampleRate, channels, format), ...parts], { type: "audio/wav" });
}

/** Return the samples of all channels by turns. */
function interleaved(block) {
  if (block.length === 1) return block[0];
  const all = new Float32Array(block.length * block[0].length);
  block.forEach((samples, channel) => samples.forEach((sample, n) => (all[n * block.length + channel] = sample)));
  return all;
}

function header(size, sampleRate, channels, format) {
  const bytes = format === PCM ? 2 : 4;
  const view = new DataView(new ArrayBuffer(HEADER_BYTES));
  const text = (at, letters) => [...letters].forEach((letter, n) => view.setUint8(at + n, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, HEADER_BYTES - 8 + size, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, format, true);
  view.setUint16(22, channels, true);
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, sampleRate * channels * bytes, true);
  view.setUint16(32, channels * bytes, true);
  view.setUint16(34, 8 * bytes, true);
  text(36, "data");
  view.setUint32(40, size, true);
  return view.buffer;
}
