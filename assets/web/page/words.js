/** Numbers as people read them. */

/**
 * Return a time: 62.5 becomes "1:02", or "1:02.5" with one digit.
 * @param {number} seconds
 * @param {number} [digits] after the point
 * @returns {string}
 */
export function showTime(seconds, digits = 0) {
  const units = 10 ** digits;
  const whole = digits ? Math.round(seconds * units) : Math.floor(seconds + 1e-6);
  const minutes = Math.floor(whole / (60 * units));
  const rest = ((whole % (60 * units)) / units).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/**
 * Return a time for a screen reader: 62 becomes "1 minute 2 seconds".
 * @param {number} seconds
 * @returns {string}
 */
export function sayTime(seconds) {
  const whole = Math.floor(seconds + 1e-6);
  const parts = [
    [Math.floor(whole / 3600), "hour"],
    [Math.floor(whole / 60) % 60, "minute"],
    [whole % 60, "second"],
  ];
  const words = parts.filter(([count]) => count).map(([count, unit]) => `${count} ${unit}${count === 1 ? "" : "s"}`);
  return words.join(" ") || "0 seconds";
}

/**
 * Return a size: 12345 becomes "12.3 kB".
 * @param {number} bytes
 * @returns {string}
 */
export function showBytes(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${threeDigits(bytes / 1e3)} kB` : `${threeDigits(bytes / 1e6)} MB`;
}

/**
 * Return a bitrate: 5870 becomes "5.87 kbit/s".
 * @param {number} bitsPerSecond
 * @returns {string}
 */
export function showBitrate(bitsPerSecond) {
  return `${threeDigits(bitsPerSecond / 1000)} kbit/s`;
}

/**
 * Return the name of a number of channels.
 * @param {number} channels
 * @returns {string}
 */
export function showChannels(channels) {
  return ["mono", "stereo"][channels - 1] ?? `${channels} channels`;
}

/** @param {number} value */
function threeDigits(value) {
  return String(Number(value.toPrecision(value >= 100 ? Math.ceil(Math.log10(value + 1)) : 3)));
}
