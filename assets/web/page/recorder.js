/** Record from the microphone. */

import { floatWavOf } from "./wav.js";

const WORKLET = new URL("recorder-worklet.js", import.meta.url);

/** A recording that goes on. It sends the event `level` with `detail`: {seconds, level}, level from 0 to 1. */
export class Recorder extends EventTarget {
  constructor() {
    super();
    this.blocks = [];
    this.samples = 0;
  }

  /** Ask for the microphone and begin. */
  async start() {
    if (!navigator.mediaDevices) throw new Error("this browser lends the microphone only to pages from https or localhost");
    const wanted = { channelCount: 1, echoCancellation: false, noiseSuppression: false };
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule(WORKLET);
    this.node = new AudioWorkletNode(this.context, "recorder", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.node.port.onmessage = ({ data }) => this._take(data);
    this.context.createMediaStreamSource(this.stream).connect(this.node);
    await this.context.resume();
  }

  /**
   * End, give the microphone back, and return what was recorded as a WAV file.
   * @returns {Promise<File>}
   */
  async stop() {
    const sampleRate = this.context.sampleRate;
    this.stream.getTracks().forEach((track) => track.stop());
    await this.context.close();
    return new File([floatWavOf(this.blocks, sampleRate, 1)], "recording.wav", { type: "audio/wav" });
  }

  /** @param {Float32Array} samples */
  _take(samples) {
    this.blocks.push([samples]);
    this.samples += samples.length;
    const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    const detail = { seconds: this.samples / this.context.sampleRate, level: Math.min(1, Math.sqrt(peak)) };
    this.dispatchEvent(new CustomEvent("level", { detail }));
  }
}
