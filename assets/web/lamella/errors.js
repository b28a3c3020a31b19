/**
 * The errors that bytes from outside cause. Each message is one line: what was found, what was expected and where.
 * They have the names and the words of `codec/errors.py`.
 */

/** The base of all errors caused by data from outside, not by the caller. */
export class CodecError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = new.target.name;
  }
}

/** Bytes that are not a valid Lamella stream. Thrown itself where no subclass names the fault. */
export class BitstreamError extends CodecError {}

/** The stream ends before its end marker and index. */
export class Truncated extends BitstreamError {}

/** Damaged bytes: their CRC-32 is not the one stored with them. */
export class ChecksumMismatch extends BitstreamError {}

/** A valid stream with a format version, a flag or a coding that this release does not support. */
export class UnsupportedVersion extends BitstreamError {}

/** A stream for much more sound than its size lets expect. */
export class TooLong extends BitstreamError {}

/** A stream made by another model than the one that should decode it. */
export class WrongModel extends BitstreamError {}

/** A model whose files are missing, damaged or do not fit each other. */
export class ModelError extends CodecError {}

/** A file that could not be fetched. */
export class NetworkError extends CodecError {}

const KINDS = {
  ...{ BitstreamError, Truncated, ChecksumMismatch, UnsupportedVersion, TooLong, WrongModel },
  ...{ ModelError, NetworkError },
};

/**
 * Make an error again that came from a worker as its name and message.
 * @param {{name: string, message: string}} error
 * @returns {Error}
 */
export function revived({ name, message }) {
  const Kind = KINDS[/** @type {keyof typeof KINDS} */ (name)];
  if (Kind) return new Kind(message);
  const error = name === "RangeError" ? new RangeError(message) : new Error(message);
  error.name = name;
  return error;
}
