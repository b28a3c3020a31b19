/** A model in a worker, and the files that it opens: the page's side of `service.js`. */

import { CodecError, NetworkError, revived } from "./errors.js";
import { joined } from "./fields.js";

/** @typedef {import("./format.js").Header} Header */
/** @typedef {import("./model.js").Manifest} Manifest */
/** @typedef {import("./recording.js").Loss} Loss */
/** @typedef {import("./service.js").ChunkInfo} ChunkInfo */
/** @typedef {import("./service.js").Port} Port */

/** Where onnxruntime-web comes from, unless a page names a folder of its own: a fixed version on a public server. */
export const RUNTIME = "https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/dist/";

/** @typedef {string | URL | Blob | ArrayBuffer | Uint8Array | Response | ReadableStream<Uint8Array>} Source */

/**
 * Decoded sound.
 * @typedef {object} SoundBlock
 * @property {number} start seconds
 * @property {number} sample number of the first sample, at the model's rate
 * @property {Float32Array[]} channels
 */

const ENCODED_AT_ONCE = 10; // seconds

/**
 * A model that runs in a worker.
 *
 * Events: "progress", whose detail is {part, loaded, total} in bytes while the model is loaded; "error", if the worker
 * cannot start.
 */
export class Lamella extends EventTarget {
  /**
   * @param {object} [options]
   * @param {string | URL | (string | URL)[]} [options.model] the folder of a model, or several
   * @param {string | URL} [options.runtime] the folder of onnxruntime-web
   * @param {Port & {terminate?: () => void}} [options.port] for tests, in place of a worker
   */
  constructor({ model = "model/", runtime = RUNTIME, port } = {}) {
    super();
    /** @type {Manifest | null} */
    this.manifest = null;
    /** @type {{bitrate: number, numCodebooks: number}[]} */
    this.bitrates = [];
    /** @type {number} */
    this.next = 1; // number of the next request, file, stream or encoder
    /** @type {Map<number, {resolve: (result: any) => void, reject: (error: Error) => void}>} */
    this.requests = new Map();
    /** @type {Map<number, LamFile>} */
    this.files = new Map();
    /** @type {Port & {terminate?: () => void}} */
    this.port = port ?? this.startWorker();
    this.port.onmessage = (/** @type {{data: any}} */ { data }) => this.receive(data);
    this.send("load", { models: [model].flat().map(folder), runtime: folder(runtime) });
  }

  /** Load everything that decoding needs, and set `manifest` and `bitrates`. */
  async ready() {
    await Promise.all([this.loadManifest(), this.call("ready", {})]);
  }

  /** Set `manifest` and `bitrates`, of the first model; nothing else is loaded. */
  async loadManifest() {
    Object.assign(this, await this.call("manifest", {}));
  }

  /**
   * Open a .lam file; resolves when its header is there, while the rest still loads.
   * @param {Source} source
   * @param {{name?: string}} [options]
   * @returns {Promise<LamFile>}
   */
  async open(source, { name = nameOf(source) } = {}) {
    const number = this.next++;
    const file = new LamFile(this, number, name);
    this.files.set(number, file);
    const opened = this.call("open", { file: number });
    this.sendBytes(file, source);
    try {
      file.opened(await opened);
    } catch (error) {
      file.close();
      throw error;
    }
    return file;
  }

  /**
   * Encode sound of known length.
   * @param {Float32Array[]} channels samples at the model's rate, within -1 to 1
   * @param {{bitrate?: number, onprogress?: (seconds: number) => void, signal?: AbortSignal}} [options]
   * @returns {Promise<Uint8Array>} a .lam file
   */
  async encode(channels, { bitrate, onprogress, signal } = {}) {
    await this.loadManifest();
    const rate = /** @type {Manifest} */ (this.manifest).sample_rate;
    const numSamples = channels[0]?.length ?? 0;
    const encoder = await this.encoder({ channels: channels.length, bitrate, numSamples });
    const parts = [];
    try {
      for (let start = 0; start < numSamples; start += ENCODED_AT_ONCE * rate) {
        signal?.throwIfAborted();
        const end = Math.min(start + ENCODED_AT_ONCE * rate, numSamples);
        parts.push(await encoder.push(channels.map((samples) => samples.slice(start, end))));
        onprogress?.(end / rate);
      }
      parts.push(await encoder.finish());
    } catch (error) {
      encoder.cancel();
      throw error;
    }
    return joined(...parts);
  }

  /**
   * Begin to encode, live or of known length.
   * @param {{channels: number, bitrate?: number, numSamples?: number | null}} options
   * @returns {Promise<Encoder>}
   */
  async encoder({ channels, bitrate, numSamples = null }) {
    const number = this.next++;
    const start = await this.call("encoder", { encoder: number, channels, bitrate, numSamples });
    return new Encoder(this, number, start);
  }

  /** End the worker. */
  close() {
    this.port.terminate?.();
    for (const { reject } of this.requests.values()) reject(new CodecError("the model is closed"));
    this.requests.clear();
  }

  /** @returns {Port & {terminate: () => void}} */
  startWorker() {
    const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    worker.onerror = (event) => {
      const error = new CodecError(`the worker cannot run: ${event.message ?? "its files are missing"}`);
      this.dispatchEvent(new CustomEvent("error", { detail: error }));
      this.close();
    };
    return /** @type {any} */ (worker);
  }

  /**
   * Send the bytes of a file to the worker.
   * @param {LamFile} file
   * @param {Source} source
   */
  async sendBytes(file, source) {
    let cause;
    try {
      const { stream, total } = await streamOf(source);
      file.totalBytes = total;
      for (const reader = stream.getReader(); this.files.has(file.number);) {
        const { done, value } = await reader.read();
        if (done) break;
        this.send("append", { file: file.number, bytes: value });
      }
    } catch (error) {
      const { message } = /** @type {Error} */ (error);
      cause = error instanceof NetworkError ? message : `${file.name} cannot be loaded: ${message}`;
    }
    this.send("end", { file: file.number, cause });
  }

  /**
   * Call a method of the service.
   * @param {string} method
   * @param {object} params
   * @returns {Promise<any>}
   */
  call(method, params) {
    return new Promise((resolve, reject) =>
      this.requests.set(this.send(method, params), { resolve, reject }),
    );
  }

  /**
   * @param {string} method
   * @param {object} params
   */
  send(method, params) {
    const id = this.next++;
    this.port.postMessage({ id, method, params }, []);
    return id;
  }

  /** @param {any} message */
  receive({ id, result, error, event, target, detail }) {
    if (event === "change") this.files.get(target)?.changed(detail);
    else if (event) this.dispatchEvent(new CustomEvent(event, { detail }));
    const request = this.requests.get(id);
    this.requests.delete(id);
    if (error) request?.reject(revived(error));
    else request?.resolve(result);
  }
}

/**
 * An opened .lam file, which may still be loading.
 *
 * Events: "progress" when more of it has arrived, "damage" when something wrong was found, "complete" at the end.
 */
export class LamFile extends EventTarget {
  /**
   * @param {Lamella} lamella
   * @param {number} number
   * @param {string} name
   */
  constructor(lamella, number, name) {
    super();
    this.lamella = lamella;
    this.number = number;
    this.name = name;
    /** @type {Header} */
    this.header = /** @type {any} */ (null);
    /** @type {number | null} samples at `sampleRate`, null while unknown */
    this.numSamples = null;
    /** @type {number | null} seconds, null while unknown */
    this.duration = null;
    this.bytes = 0; // so far
    this.totalBytes = 0; // 0: unknown
    this.loaded = 0; // seconds
    this.complete = false;
    /** @type {string | null} the first thing found wrong */
    this.damage = null;
    /** @type {string | null} why nothing can be decoded */
    this.failure = null;
    /** @type {Loss[]} */
    this.losses = [];
    /** @type {ChunkInfo[]} */
    this.chunks = [];
  }

  /** Return the rate of the decoded blocks, Hz: that of the model. */
  get sampleRate() {
    return this.header.modelSampleRate;
  }

  get channels() {
    return this.header.channels;
  }

  /**
   * Yield the decoded sound from a time on, in blocks of a second or less; waits for bytes that still load.
   * @param {{start?: number, end?: number, background?: boolean, signal?: AbortSignal}} [options] times in seconds;
   *     `background`: only while nothing else is decoded
   * @returns {AsyncGenerator<SoundBlock, void>}
   */
  async *blocks({ start = 0, end = Infinity, background = false, signal } = {}) {
    const { lamella, number: file, sampleRate } = this;
    const stream = lamella.next++;
    const stop = () => lamella.send("stop", { stream });
    signal?.throwIfAborted();
    signal?.addEventListener("abort", stop);
    const sample = (/** @type {number} */ seconds) => Math.max(0, Math.round(seconds * sampleRate));
    await lamella.call("blocks", { stream, file, start: sample(start), end: sample(end), background });
    try {
      for (;;) {
        const block = await lamella.call("next", { stream });
        signal?.throwIfAborted();
        if (!block) return;
        yield { start: block.sample / sampleRate, ...block };
      }
    } finally {
      signal?.removeEventListener("abort", stop);
      stop();
    }
  }

  /** Wait until all of the file has arrived. */
  async whenComplete() {
    if (!this.complete)
      await new Promise((resolve) => this.addEventListener("complete", resolve, { once: true }));
  }

  /** Forget the file. */
  close() {
    this.lamella.files.delete(this.number);
    this.lamella.send("close", { file: this.number });
  }

  /** @param {any} info */
  opened({ header, ...info }) {
    this.header = header;
    this.changed(info);
  }

  /** @param {any} info */
  changed({ from, chunks, ...info }) {
    const before = { damage: this.damage, losses: this.losses.length, complete: this.complete };
    Object.assign(this, info);
    this.chunks.splice(from, Infinity, ...chunks);
    this.dispatchEvent(new Event("progress"));
    if (before.damage !== this.damage || before.losses !== this.losses.length)
      this.dispatchEvent(new Event("damage"));
    if (this.complete && !before.complete) this.dispatchEvent(new Event("complete"));
  }
}

/** Encodes sound; the bytes of `push` and `finish`, one after another, are a .lam file. */
export class Encoder {
  /**
   * @param {Lamella} lamella
   * @param {number} number
   * @param {Uint8Array} start the first bytes of the file
   */
  constructor(lamella, number, start) {
    this.lamella = lamella;
    this.number = number;
    this.ready = start;
    this.numSamples = 0; // pushed so far
  }

  /**
   * Take samples at the model's rate; return the bytes that are ready, maybe none.
   * @param {Float32Array[]} samples a channel each
   * @returns {Promise<Uint8Array>}
   */
  async push(samples) {
    this.numSamples += samples[0]?.length ?? 0;
    return this.take(await this.lamella.call("push", { encoder: this.number, samples }));
  }

  /**
   * Return the last bytes of the file.
   * @returns {Promise<Uint8Array>}
   */
  async finish() {
    return this.take(await this.lamella.call("finish", { encoder: this.number }));
  }

  /** End without a file. */
  cancel() {
    this.lamella.send("cancel", { encoder: this.number });
  }

  /** @param {Uint8Array} bytes */
  take(bytes) {
    const all = joined(this.ready, bytes);
    this.ready = new Uint8Array(0);
    return all;
  }
}

/**
 * Return the bytes of a source as a stream, and their number, 0 if unknown.
 * @param {Source} source
 * @returns {Promise<{stream: ReadableStream<Uint8Array>, total: number}>}
 */
async function streamOf(source) {
  if (source instanceof ReadableStream) return { stream: source, total: 0 };
  if (source instanceof ArrayBuffer || source instanceof Uint8Array)
    source = new Blob([/** @type {any} */ (source)]);
  if (source instanceof Blob) return { stream: source.stream(), total: source.size };
  const response = source instanceof Response ? source : await fetch(source);
  if (!response.ok || !response.body) {
    throw new NetworkError(
      `${response.url}: the server answers ${response.status} ${response.statusText}`.trim(),
    );
  }
  const coded = response.headers.get("content-encoding") !== null; // then the length is that of the coded bytes
  return { stream: response.body, total: coded ? 0 : Number(response.headers.get("content-length") ?? 0) };
}

/** @param {Source} source */
function nameOf(source) {
  if (source instanceof Response) return nameOf(source.url);
  if (source instanceof Blob) return "name" in source ? String(source.name) : "file";
  if (typeof source !== "string" && !(source instanceof URL)) return "file";
  const path = new URL(source, globalThis.location?.href ?? "file:///").pathname;
  return decodeURIComponent(path.slice(path.lastIndexOf("/") + 1)) || "file";
}

/**
 * Return the address of a folder, with a slash at the end.
 * @param {string | URL} address relative to the page
 */
function folder(address) {
  const url = new URL(address, globalThis.location?.href ?? "file:///").href;
  return url.endsWith("/") ? url : `${url}/`;
}
