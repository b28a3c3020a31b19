/** The library with a model under Node: messages go through a MessageChannel in place of a worker. */

import { existsSync, readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

import { Lamella } from "../../../assets/web/lamella.js";
import { Service } from "../../../assets/web/lamella/service.js";

const PACKAGE = process.env.ONNXRUNTIME_WEB; // folder of the npm package onnxruntime-web
export const FOLDER = process.env.LAMELLA_SOUNDS ?? ""; // written by test_node.py

/** Options of a test that runs a model: a reason to skip it, where something is missing. */
export const NEEDS_MODEL = needs();

function needs() {
  if (!PACKAGE)
    return {
      skip: "npm pack onnxruntime-web, and set ONNXRUNTIME_WEB to the folder of the unpacked package",
    };
  if (!FOLDER)
    return {
      skip: "pytest tests/web/test_node.py writes a small model and its sounds, and sets LAMELLA_SOUNDS",
    };
  return {};
}

/**
 * Open a model.
 * @param {string | string[]} [model] its folder, or several
 */
export function openModel(model = `${FOLDER}/model`) {
  const { port1, port2 } = new MessageChannel();
  new Service(port2, { runtime, fetchFile });
  const port = Object.assign(port1, { terminate: () => port1.close() });
  return new Lamella({ model, port });
}

async function runtime() {
  const ort = await import(pathToFileURL(`${PACKAGE}/dist/ort.wasm.min.mjs`).href);
  ort.env.wasm.numThreads = 1;
  return ort;
}

/**
 * @param {string} url
 * @param {(loaded: number, total: number) => void} progress
 */
async function fetchFile(url, progress) {
  const path = new URL(url);
  if (!existsSync(path)) return null;
  const bytes = new Uint8Array(readFileSync(path));
  progress(bytes.length, bytes.length);
  return bytes;
}

/** @param {string} name of a file that test_node.py has written */
export function written(name) {
  return new Uint8Array(readFileSync(`${FOLDER}/${name}`));
}

/**
 * Return the channels of a file of samples.
 * @param {string} name
 * @param {number} channels
 */
export function samplesOf(name, channels) {
  const all = new Float32Array(written(name).buffer);
  const length = all.length / channels;
  return Array.from({ length: channels }, (_, channel) =>
    all.subarray(channel * length, (channel + 1) * length),
  );
}

/**
 * Join blocks, after checking that they follow each other.
 * @param {AsyncIterable<import("../../../assets/web/lamella/client.js").SoundBlock>} blocks
 */
export async function joinedBlocks(blocks) {
  const all = [];
  let end = null;
  for await (const block of blocks) {
    if (end !== null && block.sample !== end) throw new Error(`a block at ${block.sample}, expected ${end}`);
    end = block.sample + block.channels[0].length;
    all.push(block);
  }
  const start = all[0]?.sample ?? 0;
  const channels = (all[0]?.channels ?? []).map((_, channel) => {
    const whole = new Float32Array(end - start);
    for (const block of all) whole.set(block.channels[channel], block.sample - start);
    return whole;
  });
  return { start, channels, longest: Math.max(0, ...all.map((block) => block.channels[0].length)) };
}

/**
 * Return the largest difference of two sounds, each limited to full scale as a sound file is; Infinity if their sizes differ.
 * @param {Float32Array[]} found
 * @param {Float32Array[]} expected
 */
export function difference(found, expected) {
  if (
    found.length !== expected.length ||
    found.some((samples, channel) => samples.length !== expected[channel].length)
  ) {
    return Infinity;
  }
  let largest = 0;
  for (let channel = 0; channel < found.length; channel++) {
    const [one, other] = [found[channel], expected[channel]];
    for (let time = 0; time < one.length; time++) {
      const apart = Math.abs(Math.min(Math.max(one[time], -1), 1) - Math.min(Math.max(other[time], -1), 1));
      if (!(apart <= largest)) largest = apart; // NaN too
    }
  }
  return largest;
}
