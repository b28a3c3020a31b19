/** The worker of lamella.js: a `Service` with the files that the browser fetches. */

import { NetworkError } from "./errors.js";
import { Service } from "./service.js";

/** @typedef {import("./model.js").FetchFile} FetchFile */

/**
 * Import onnxruntime-web from a folder.
 * @param {string} folder its address, with a slash at the end
 */
async function runtime(folder) {
  try {
    const ort = await import(`${folder}ort.wasm.min.mjs`);
    ort.env.wasm.wasmPaths = folder;
    ort.env.wasm.numThreads = 1; // more would need headers that few static hosts send
    return ort;
  } catch (error) {
    throw new NetworkError(
      `${folder}ort.wasm.min.mjs cannot be loaded: ${/** @type {Error} */ (error).message}`,
    );
  }
}

/** @type {FetchFile} */
async function fetchFile(url, progress) {
  try {
    const response = await fetch(url);
    if (response.status === 404) return null;
    if (!response.ok || !response.body) throw new Error(`status ${response.status}`);
    const total = Number(response.headers.get("content-length") ?? 0);
    const parts = [];
    let loaded = 0;
    for (const reader = response.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      loaded += value.length;
      progress(loaded, Math.max(total, loaded));
    }
    return new Uint8Array(await new Blob(parts).arrayBuffer());
  } catch (error) {
    throw new NetworkError(`${url} cannot be loaded: ${/** @type {Error} */ (error).message}`);
  }
}

new Service(/** @type {any} */ (self), { runtime, fetchFile });
