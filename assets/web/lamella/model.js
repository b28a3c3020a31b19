/** A model: its manifest, its prior, and the graphs of its encoder and decoder in ONNX Runtime. Each is loaded once. */

import { ModelError } from "./errors.js";
import { Prior } from "./prior.js";

/** @typedef {import("./prior.js").Prior} PriorType */

/**
 * The sizes of a model and the interface of its graphs, as `lamella export --format onnx` writes them.
 * @typedef {object} Manifest
 * @property {string} model_id
 * @property {string | null} [prior] its file; null: the model has none. By default prior.safetensors, if that exists
 * @property {string[]} [earlier_model_ids] of files that this model decodes too
 * @property {number} sample_rate Hz
 * @property {number} hop_length samples in a frame
 * @property {number} latency samples by which decoded sound lags
 * @property {number} reset_interval frames after which the predictor starts again
 * @property {number} run_in_frames earlier frames that the sound of a frame depends on
 * @property {number} num_codebooks
 * @property {number} base_codebooks
 * @property {number} codebook_size
 * @property {number} channel_noise_offset
 * @property {number} noise_period
 * @property {{encode: GraphSpec, decode: GraphSpec}} functions
 */

/**
 * The interface of a graph.
 * @typedef {object} GraphSpec
 * @property {string} file
 * @property {Record<string, {shape: (string | number)[], dtype: string}>} state by the name of the input
 */

/**
 * The part of onnxruntime-web that is used; onnxruntime-node has it too.
 * @typedef {object} Runtime
 * @property {{create: (bytes: Uint8Array, options: object) => Promise<Session>}} InferenceSession
 * @property {new (type: string, data: any, dims: number[]) => Tensor} Tensor
 */

/**
 * @typedef {object} Session
 * @property {(feeds: Record<string, Tensor>) => Promise<Record<string, Tensor>>} run
 */

/**
 * @typedef {object} Tensor
 * @property {Float32Array | Int32Array | Uint8Array} data
 * @property {readonly number[]} dims
 */

/** @typedef {Record<string, Tensor>} State */

/**
 * Fetches a file: calls `progress` with bytes loaded and expected (0: unknown); gives null if there is no such file.
 * @typedef {(url: string, progress: (loaded: number, total: number) => void) => Promise<Uint8Array | null>} FetchFile
 */

/**
 * Told what is being loaded: its name, bytes loaded and bytes expected (0: unknown).
 * @typedef {(part: string, loaded: number, total: number) => void} Progress
 */

const SIZES = /** @type {const} */ ([
  ...["sample_rate", "hop_length", "reset_interval", "num_codebooks", "base_codebooks", "codebook_size"],
  ...["latency", "run_in_frames", "channel_noise_offset", "noise_period"],
]);
const SHIPPED_CODEBOOKS = [3, 6, 12, 24, 30];

/** A model, whose parts are loaded when they are first needed. */
export class Model {
  /**
   * @param {Manifest} manifest
   * @param {string} folder its address, with a slash at the end
   * @param {{runtime: () => Promise<Runtime>, fetchFile: FetchFile, progress: Progress}} loading
   */
  constructor(manifest, folder, { runtime, fetchFile, progress }) {
    this.manifest = manifest;
    this.folder = folder;
    this.runtime = runtime;
    this.fetchFile = fetchFile;
    this.progress = progress;
    this.prior = once(() => this.loadPrior());
    this.decoder = once(() => this.loadGraph("decoder", manifest.functions.decode));
    this.encoder = once(() => this.loadGraph("encoder", manifest.functions.encode));
  }

  /**
   * Fetch the manifest of a model.
   * @param {string} folder
   * @param {{runtime: () => Promise<Runtime>, fetchFile: FetchFile, progress: Progress}} loading
   */
  static async open(folder, loading) {
    const url = `${folder}manifest.json`;
    const bytes = await loading.fetchFile(url, () => {});
    if (!bytes) throw new ModelError(`${url}: no such file; write it with lamella export --format onnx`);
    return new Model(checkedManifest(bytes, url), folder, loading);
  }

  /** Return the identities of the files that this model decodes. */
  get ids() {
    return [this.manifest.model_id, ...(this.manifest.earlier_model_ids ?? [])];
  }

  /** Return the rates that the model is trained for: bits per second and channel, and the codebooks of each. */
  get bitrates() {
    const {
      num_codebooks: most,
      base_codebooks: least,
      codebook_size: size,
      sample_rate,
      hop_length,
    } = this.manifest;
    const counts = SHIPPED_CODEBOOKS.filter((count) => count >= least && count <= most);
    return (counts.length ? counts : [most]).map((numCodebooks) => ({
      bitrate: Math.round((numCodebooks * Math.log2(size) * sample_rate) / hop_length),
      numCodebooks,
    }));
  }

  /** @returns {Promise<PriorType | null>} */
  async loadPrior() {
    const { prior: name = "prior.safetensors" } = this.manifest;
    if (name === null) return null;
    const bytes = await this.fetchFile(this.folder + name, (...count) => this.progress("prior", ...count));
    if (!bytes) return null;
    const prior = Prior.fromBytes(bytes, name);
    const { num_codebooks: codebooks, codebook_size: size } = this.manifest;
    if (prior.numCodebooks !== codebooks || prior.codebookSize !== size) {
      throw new ModelError(
        `${name}: ${prior.numCodebooks} codebooks of ${prior.codebookSize} codes, ` +
          `expected ${codebooks} of ${size} as in the manifest`,
      );
    }
    return prior;
  }

  /**
   * @param {string} part
   * @param {GraphSpec} spec
   */
  async loadGraph(part, spec) {
    const url = this.folder + spec.file;
    const [runtime, bytes] = await Promise.all([
      this.runtime(),
      this.fetchFile(url, (...count) => this.progress(part, ...count)),
    ]);
    if (!bytes) throw new ModelError(`${url}: no such file`);
    try {
      const session = await runtime.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
      return new Graph(runtime, session, spec);
    } catch (error) {
      throw new ModelError(`${url}: ONNX Runtime cannot load it: ${/** @type {Error} */ (error).message}`);
    }
  }
}

/** A graph whose state is explicit. */
export class Graph {
  /**
   * @param {Runtime} runtime
   * @param {Session} session
   * @param {GraphSpec} spec
   */
  constructor(runtime, session, spec) {
    this.runtime = runtime;
    this.session = session;
    this.spec = spec;
  }

  /**
   * @param {string} type
   * @param {Float32Array | Int32Array | Uint8Array} data
   * @param {number[]} shape
   */
  tensor(type, data, shape) {
    return new this.runtime.Tensor(type, data, shape);
  }

  /**
   * Return the state before the first call: zeros.
   * @param {number} channels
   * @returns {State}
   */
  initialState(channels) {
    const entries = Object.entries(this.spec.state).map(([name, { shape, dtype }]) => {
      const sizes = shape.map((size) => (typeof size === "number" ? size : channels));
      const count = sizes.reduce((a, b) => a * b, 1);
      return [
        name,
        this.tensor(dtype, dtype === "int32" ? new Int32Array(count) : new Float32Array(count), sizes),
      ];
    });
    return Object.fromEntries(entries);
  }

  /**
   * Run the graph once.
   * @param {Record<string, Tensor>} inputs
   * @param {State} state
   */
  async run(inputs, state) {
    const outputs = await this.session.run({ ...inputs, ...state });
    const next = Object.keys(this.spec.state).map((name) => [name, outputs[`next_${name}`]]);
    return { outputs, state: /** @type {State} */ (Object.fromEntries(next)) };
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {string} url
 * @returns {Manifest}
 */
function checkedManifest(bytes, url) {
  let manifest;
  try {
    manifest = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new ModelError(`${url}: not JSON, expected the manifest of lamella export --format onnx`);
  }
  const wrong = SIZES.find((name) => !Number.isInteger(manifest?.[name]));
  if (wrong) throw new ModelError(`${url}: ${wrong} is ${manifest?.[wrong]}, expected an integer`);
  for (const name of ["encode", "decode"]) {
    const { file, state } = manifest.functions?.[name] ?? {};
    if (typeof file !== "string" || !state)
      throw new ModelError(`${url}: no function ${name} with a file and a state`);
  }
  return manifest;
}

/**
 * Return a function that calls another one once, and again only after it failed.
 * @template Result
 * @param {() => Promise<Result>} load
 * @returns {() => Promise<Result>}
 */
export function once(load) {
  /** @type {Promise<Result> | null} */
  let result = null;
  return () => {
    result ??= load().catch((error) => {
      result = null;
      throw error;
    });
    return result;
  };
}
