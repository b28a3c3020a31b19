/** The ways of reading a stream, each down to the codes. */

import { BitstreamError } from "../../../assets/web/lamella/errors.js";
import { Reader, StreamReader, decodeChunk } from "../../../assets/web/lamella/reader.js";
import { RecoveringReader } from "../../../assets/web/lamella/recovery.js";

/** @typedef {import("../../../assets/web/lamella/format.js").StoredChunk} StoredChunk */
/** @typedef {import("../../../assets/web/lamella/prior.js").Prior} Prior */

/**
 * What was read: the reader (null if its header is wrong), the chunks before the first error, and that error.
 * @typedef {object} Result
 * @property {Reader | null} reader
 * @property {{chunk: StoredChunk, codes: Int32Array}[]} chunks
 * @property {BitstreamError | null} error
 */

/**
 * Read a whole file.
 * @param {Uint8Array} bytes
 * @param {Prior | null} prior
 */
export function readFile(bytes, prior) {
  return readWith(() => new Reader(bytes), prior);
}

/**
 * Read what is left of a damaged file.
 * @param {Uint8Array} bytes
 * @param {Prior | null} prior
 */
export function recoverFile(bytes, prior) {
  return readWith(() => new RecoveringReader(bytes), prior, true);
}

/**
 * Read a file that arrives in parts.
 * @param {Uint8Array} bytes
 * @param {Prior | null} prior
 * @param {number} step bytes in a part
 * @returns {Result}
 */
export function readStream(bytes, prior, step) {
  /** @type {StreamReader | null} */
  let stream = null;
  /** @type {StoredChunk[]} */
  const stored = [];
  let error = null;
  try {
    for (let end = Math.min(step, bytes.length); ; end = Math.min(end + step, bytes.length)) {
      const ended = end === bytes.length;
      if (end >= 43 || ended) {
        stream ??= new StreamReader(bytes.subarray(0, end));
        stream.take(bytes.subarray(0, end), ended, stored);
      }
      if (ended) break;
    }
  } catch (thrown) {
    if (!(thrown instanceof BitstreamError)) throw thrown;
    error = thrown;
  }
  const decoded = decode(stored.values(), stream?.reader ?? null, prior, false);
  return { reader: stream?.reader ?? null, chunks: decoded.chunks, error: decoded.error ?? error };
}

/**
 * @param {() => Reader} open
 * @param {Prior | null} prior
 * @param {boolean} lenient true if chunks that cannot be decoded are left out
 * @returns {Result}
 */
function readWith(open, prior, lenient = false) {
  let reader;
  try {
    reader = open();
  } catch (error) {
    if (!(error instanceof BitstreamError)) throw error;
    return { reader: null, chunks: [], error };
  }
  return { reader, ...decode(reader.storedChunks(), reader, prior, lenient) };
}

/**
 * @param {Iterator<StoredChunk>} stored
 * @param {Reader | null} reader
 * @param {Prior | null} prior
 * @param {boolean} lenient
 */
function decode(stored, reader, prior, lenient) {
  /** @type {{chunk: StoredChunk, codes: Int32Array}[]} */
  const chunks = [];
  let error = null;
  for (;;) {
    try {
      const { value: chunk } = stored.next();
      if (!chunk || !reader) break;
      chunks.push({ chunk, codes: decodeChunk(chunk, reader.header, prior) });
    } catch (thrown) {
      if (!(thrown instanceof BitstreamError)) throw thrown;
      if (lenient) continue;
      error = thrown;
      break;
    }
  }
  return { chunks, error };
}
