/**
 * What runs in the worker: it opens files, decodes and encodes for a page that sends messages.
 *
 * Messages are {id, method, params}; answers {id, result} or {id, error: {name, message}}; events {event, target, detail}.
 */

import { EncoderStream } from "./encoder.js";
import { BitstreamError, CodecError, NetworkError } from "./errors.js";
import { wrongModel } from "./format.js";
import { Model, once } from "./model.js";
import { blocks } from "./playback.js";
import { Recording } from "./recording.js";

/** @typedef {import("./format.js").Header} Header */
/** @typedef {import("./model.js").Runtime} Runtime */
/** @typedef {import("./playback.js").Block} Block */

/**
 * The end of a channel of messages: that of a worker, or of a MessageChannel.
 * @typedef {object} Port
 * @property {(message: any, transfer: Transferable[]) => void} postMessage
 * @property {((event: {data: any}) => void) | null} onmessage
 */

/**
 * What a page is told about a chunk.
 * @typedef {object} ChunkInfo
 * @property {number} number
 * @property {number} start seconds
 * @property {number} seconds
 * @property {number} bytes in the file
 * @property {number} codebooks 0 is silence
 * @property {boolean} lost true for a gap, which may be longer than a chunk
 */

const PATIENCE = 20; // ms without a request of the foreground, after which the background goes on

/** Serves one page. */
export class Service {
  /**
   * @param {Port} port
   * @param {{runtime: (folder: string) => Promise<Runtime>, fetchFile: import("./model.js").FetchFile}} loading
   */
  constructor(port, { runtime, fetchFile }) {
    this.port = port;
    this.loading = { runtime, fetchFile };
    /** @type {(() => Promise<Model>)[]} */
    this.models = [];
    /** @type {Map<number, {recording: Recording, model: Model | null}>} */
    this.files = new Map();
    /** @type {Map<number, {sound: AsyncGenerator<Block, void>, background: boolean, stopping: AbortController}>} */
    this.streams = new Map();
    /** @type {Map<number, EncoderStream>} */
    this.encoders = new Map();
    this.urgent = 0; // requests of the foreground that are not answered yet
    port.onmessage = ({ data }) => this.answer(data);
  }

  /** @param {{id: number, method: string, params: any}} request */
  async answer({ id, method, params }) {
    const methods = /** @type {Record<string, (params: any) => any>} */ (/** @type {unknown} */ (this));
    try {
      const result = await methods[`on${method}`](params);
      this.port.postMessage({ id, result }, transferable(result));
    } catch (error) {
      const { name, message } = /** @type {Error} */ (error);
      this.port.postMessage({ id, error: { name, message } }, []);
    }
  }

  /**
   * @param {string} event
   * @param {number} target number of a file; 0: the service itself
   * @param {object} detail
   */
  tell(event, target, detail) {
    this.port.postMessage({ event, target, detail }, []);
  }

  /** @param {{models: string[], runtime: string}} params */
  onload({ models, runtime }) {
    const loading = {
      runtime: once(async () => {
        const progress = (/** @type {number} */ loaded) =>
          this.tell("progress", 0, { part: "runtime", loaded, total: 1 });
        progress(0);
        const loaded = await this.loading.runtime(runtime);
        progress(1);
        return loaded;
      }),
      fetchFile: this.loading.fetchFile,
      progress: (/** @type {string} */ part, /** @type {number} */ loaded, /** @type {number} */ total) =>
        this.tell("progress", 0, { part, loaded, total }),
    };
    this.models = models.map((folder) => once(() => Model.open(folder, loading)));
  }

  /** Return the sizes and the rates of the first model. */
  async onmanifest() {
    const { manifest, bitrates } = await this.models[0]();
    return { manifest, bitrates };
  }

  /** Load the first model, ready to decode. */
  async onready() {
    const model = await this.models[0]();
    await Promise.all([model.decoder(), model.prior()]);
  }

  /** @param {{file: number}} params */
  async onopen({ file }) {
    const recording = new Recording();
    this.files.set(file, { recording, model: null });
    const header = await recording.whenHeader();
    const model = await this.find(header);
    this.files.set(file, { recording, model });
    let waiting = false;
    let sent = 0; // chunks
    const news = () => {
      const from = recording.complete || recording.rejected.size ? 0 : sent;
      sent = recording.chunks.length;
      return { ...info(recording), from, chunks: chunkInfo(recording, from) };
    };
    recording.onchange = () => {
      if (waiting) return;
      waiting = true;
      setTimeout(() => {
        waiting = false;
        this.tell("change", file, news());
      });
    };
    return { header, ...news() };
  }

  /** @param {{file: number, bytes: Uint8Array}} params */
  onappend({ file, bytes }) {
    this.files.get(file)?.recording.append(bytes);
  }

  /** @param {{file: number, cause?: string}} params */
  onend({ file, cause }) {
    this.files.get(file)?.recording.end(cause ? new NetworkError(cause) : null);
  }

  /** @param {{file: number}} params */
  onclose({ file }) {
    this.files.delete(file);
  }

  /** @param {{stream: number, file: number, start: number, end?: number, background: boolean}} params */
  onblocks({ stream, file, start, end, background }) {
    const opened = this.files.get(file);
    if (!opened?.model) throw new CodecError("the file is closed");
    const stopping = new AbortController();
    const sound = blocks(opened.recording, opened.model, start, end, stopping.signal);
    this.streams.set(stream, { sound, background, stopping });
  }

  /**
   * Return the next block of a stream; null at its end.
   * @param {{stream: number}} params
   */
  async onnext({ stream }) {
    const opened = this.streams.get(stream);
    if (!opened) return null;
    if (opened.background) await this.quiet();
    else this.urgent++;
    try {
      const { value } = await opened.sound.next();
      return value
        ? { sample: value.sample, channels: value.channels.map((samples) => samples.slice()) }
        : null;
    } finally {
      if (!opened.background) this.urgent--;
    }
  }

  /** @param {{stream: number}} params */
  onstop({ stream }) {
    this.streams.get(stream)?.stopping.abort();
    this.streams.delete(stream);
  }

  /** @param {{encoder: number, channels: number, bitrate?: number, numSamples: number | null}} params */
  async onencoder({ encoder, channels, bitrate, numSamples }) {
    const model = await this.models[0]();
    const [graph, prior] = await Promise.all([model.encoder(), model.prior()]);
    const numCodebooks = codebooksOf(model, bitrate);
    const stream = new EncoderStream(graph, model.manifest, prior, { channels, numCodebooks, numSamples });
    this.encoders.set(encoder, stream);
    return stream.start();
  }

  /** @param {{encoder: number, samples: Float32Array[]}} params */
  onpush({ encoder, samples }) {
    return this.encoding(encoder).push(samples);
  }

  /** @param {{encoder: number}} params */
  async onfinish({ encoder }) {
    const last = await this.encoding(encoder).finish();
    this.encoders.delete(encoder);
    return last;
  }

  /** @param {{encoder: number}} params */
  oncancel({ encoder }) {
    this.encoders.delete(encoder);
  }

  /** @param {number} number */
  encoding(number) {
    const encoder = this.encoders.get(number);
    if (!encoder) throw new CodecError("the encoder has ended");
    return encoder;
  }

  /**
   * Return the model that made a file.
   * @param {Header} header
   */
  async find(header) {
    const ids = [];
    for (const open of this.models) {
      const model = await open();
      if (model.ids.includes(header.modelId)) return checkedConfig(header, model);
      ids.push(model.manifest.model_id);
    }
    throw wrongModel(header, ids);
  }

  /** Wait until the foreground has asked for nothing for a moment. */
  async quiet() {
    do await new Promise((resolve) => setTimeout(resolve, PATIENCE));
    while (this.urgent);
  }
}

/**
 * Throw BitstreamError for a header that contradicts the model.
 * @param {Header} header
 * @param {Model} model
 */
function checkedConfig({ modelSampleRate, hopLength, bitsPerCode, numCodebooks }, model) {
  const { sample_rate, hop_length, codebook_size, num_codebooks } = model.manifest;
  const found = `(${modelSampleRate}, ${hopLength}, ${bitsPerCode})`;
  const expected = `(${sample_rate}, ${hop_length}, ${Math.log2(codebook_size)})`;
  if (found !== expected || numCodebooks > num_codebooks) {
    throw new BitstreamError(
      `header: (rate, hop, bits) ${found} and ${numCodebooks} codebooks, ` +
        `expected ${expected} and at most ${num_codebooks}`,
    );
  }
  return model;
}

/**
 * Return the number of codebooks of a rate; without one, of the rate nearest to 6000.
 * @param {Model} model
 * @param {number | undefined} bitrate bits per second and channel
 */
function codebooksOf({ bitrates }, bitrate) {
  const distance = (/** @type {{bitrate: number}} */ rate) => Math.abs(rate.bitrate - (bitrate ?? 6000));
  const nearest = bitrates.reduce((best, rate) => (distance(rate) < distance(best) ? rate : best));
  if (bitrate !== undefined && nearest.bitrate !== bitrate) {
    const known = bitrates.map((rate) => rate.bitrate).join(", ");
    throw new RangeError(`bitrate ${bitrate} bits per second is not one of ${known}`);
  }
  return nearest.numCodebooks;
}

/**
 * Return what a page is told about a file.
 * @param {Recording} recording
 */
function info(recording) {
  const { numSamples, complete, header, losses } = recording;
  const sampleRate = header?.sampleRate ?? 1;
  const unknown = complete ? recording.loaded() : null;
  return {
    numSamples: recording.modelSamples(),
    duration: numSamples === null ? unknown : numSamples / sampleRate,
    bytes: recording.size,
    loaded: recording.loaded(),
    complete,
    damage: recording.damage?.message ?? null,
    failure: recording.failure?.message ?? null,
    losses,
  };
}

/**
 * Return the chunks and the gaps between them, in the order of time.
 * @param {Recording} recording
 * @param {number} from how many of the first chunks to leave out
 * @returns {ChunkInfo[]}
 */
function chunkInfo({ header, chunks, losses, rejected }, from) {
  const frame = header ? header.hopLength / header.modelSampleRate : 0;
  const stored = chunks
    .slice(from)
    .filter(({ index }) => !rejected.has(index))
    .map(({ index, startFrame, frames, size, codebooks }) => {
      return {
        number: index,
        start: startFrame * frame,
        seconds: frames * frame,
        bytes: size,
        codebooks,
        lost: false,
      };
    });
  const gaps = losses.map(({ first, start, end }) => {
    return { number: first, start, seconds: (end ?? start) - start, bytes: 0, codebooks: 0, lost: true };
  });
  return [...stored, ...gaps].sort((a, b) => a.start - b.start);
}

/**
 * Return what can be handed over to the page without a copy.
 * @param {any} result
 * @returns {Transferable[]}
 */
function transferable(result) {
  if (result instanceof Uint8Array) return [result.buffer];
  return result?.channels?.map?.((/** @type {Float32Array} */ samples) => samples.buffer) ?? [];
}
