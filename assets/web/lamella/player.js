/** Plays an opened .lam file with Web Audio, while it loads. */

import { CodecError } from "./errors.js";

/** @typedef {import("./client.js").LamFile} LamFile */
/** @typedef {import("./client.js").SoundBlock} SoundBlock */

const LEAD = 0.05; // seconds from a block's decoding to its sound, where playing begins or has run dry

/**
 * Plays one file at a time. Its properties and events are named as those of an `<audio>` element; the event "block" has
 * each decoded block as its detail.
 */
export class Player extends EventTarget {
  /** @param {{ahead?: number}} [options] `ahead`: seconds that are decoded before they are heard */
  constructor({ ahead = 8 } = {}) {
    super();
    this.ahead = ahead;
    /** @type {LamFile | null} */
    this.file = null;
    /** @type {AudioContext | null} */
    this.context = null;
    /** @type {GainNode | null} */
    this.output = null;
    this.rate = 0; // Hz, for which the context was made
    this.paused = true;
    this.ended = false;
    this.waiting = false;
    this.seeking = false;
    this.gain = 1;
    this.silent = false;
    this.position = 0; // seconds in the file, at the moment `origin` of the context
    this.origin = 0; // seconds of the context's clock; valid while `running`
    this.running = false; // blocks are scheduled from `origin` on
    this.scheduled = 0; // seconds in the file up to which blocks are scheduled
    /** @type {Set<AudioBufferSourceNode>} */
    this.nodes = new Set();
    /** @type {AbortController | null} of the decoding in progress */
    this.decoding = null;
    this.finished = false; // the last block is scheduled
    this.wake = () => {}; // tells the decoding that time has passed
    this.onchange = () => this.emit("durationchange");
  }

  /** Return where the sound is, in seconds. */
  get currentTime() {
    if (!this.running || !this.context) return this.position;
    const passed = Math.max(0, this.context.currentTime - this.origin);
    return Math.min(this.position + passed, this.scheduled);
  }

  set currentTime(seconds) {
    this.seek(seconds);
  }

  /** Return the length of the file in seconds, NaN while it is unknown. */
  get duration() {
    return this.file?.duration ?? NaN;
  }

  get volume() {
    return this.gain;
  }

  set volume(volume) {
    this.gain = Math.min(Math.max(volume, 0), 1);
    this.setGain();
  }

  get muted() {
    return this.silent;
  }

  set muted(muted) {
    this.silent = muted;
    this.setGain();
  }

  /**
   * Take a file; nothing is decoded before `play`.
   * @param {LamFile} file
   */
  load(file) {
    this.unload();
    this.file = file;
    file.addEventListener("progress", this.onchange);
    this.emit("durationchange");
  }

  /** Stop, and forget the file. */
  unload() {
    this.pause();
    this.stop();
    this.file?.removeEventListener("progress", this.onchange);
    this.file = null;
    this.position = 0;
    this.ended = false;
  }

  /** Play from the current place; from the start after the end. Browsers want a click or a key before the first time. */
  async play() {
    if (!this.file || !this.paused) return;
    if (this.ended) this.restart(0);
    this.paused = false;
    this.ended = false;
    this.emit("play");
    const resumed = this.prepare(this.file).resume();
    if (!this.decoding) this.start();
    else if (!this.waiting) this.emit("playing");
    await resumed;
  }

  /** Pause. */
  pause() {
    if (this.paused) return;
    this.paused = true;
    this.context?.suspend();
    this.emit("pause");
  }

  /**
   * Go to a place.
   * @param {number} seconds
   */
  seek(seconds) {
    if (!this.file) return;
    const end = this.file.duration ?? Infinity;
    this.restart(Math.min(Math.max(seconds, 0), end));
    this.ended = false;
    this.seeking = true;
    this.emit("seeking");
    if (this.paused) this.arrive();
    else this.start();
  }

  /**
   * Return the context, made when it is first needed, at the rate of the file if the browser allows it.
   * @param {LamFile} file
   */
  prepare(file) {
    if (this.rate !== file.sampleRate) {
      this.context?.close();
      this.rate = file.sampleRate;
      try {
        this.context = new AudioContext({ sampleRate: file.sampleRate });
      } catch {
        this.context = new AudioContext(); // which resamples each block
      }
      this.output = this.context.createGain();
      this.output.connect(this.context.destination);
      this.setGain();
    }
    return /** @type {AudioContext} */ (this.context);
  }

  /**
   * Stop, and continue from a place with the next `start`.
   * @param {number} seconds
   */
  restart(seconds) {
    this.stop();
    this.position = seconds;
    this.scheduled = seconds;
  }

  /** Stop decoding, and all sound that is scheduled. */
  stop() {
    this.position = this.currentTime;
    this.decoding?.abort();
    this.decoding = null;
    for (const node of this.nodes) {
      node.onended = null;
      node.stop();
      node.disconnect();
    }
    this.nodes.clear();
    this.running = false;
    this.finished = false;
    this.waiting = false;
    this.wake();
  }

  /** Decode from the current place on, and schedule the blocks. */
  async start() {
    const file = /** @type {LamFile} */ (this.file);
    const decoding = new AbortController();
    this.decoding = decoding;
    this.setWaiting(true);
    try {
      for await (const block of file.blocks({ start: this.position, signal: decoding.signal })) {
        if (decoding.signal.aborted) return;
        this.schedule(block, file);
        while (this.scheduled - this.currentTime > this.ahead && !decoding.signal.aborted) {
          await new Promise((resolve) => (this.wake = () => resolve(null)));
        }
      }
      if (decoding.signal.aborted) return;
      this.finished = true;
      if (!this.nodes.size) this.finish();
    } catch (error) {
      if (decoding.signal.aborted) return;
      this.stop();
      this.pause();
      this.emit("error", error);
    }
  }

  /**
   * Play a block after those before it.
   * @param {SoundBlock} block
   * @param {LamFile} file
   */
  schedule(block, file) {
    const context = this.prepare(file);
    const length = block.channels[0].length;
    const buffer = context.createBuffer(block.channels.length, length, file.sampleRate);
    block.channels.forEach((samples, channel) => buffer.copyToChannel(/** @type {any} */ (samples), channel));
    if (this.waiting || this.origin + block.start - this.position < context.currentTime) {
      // Times are whole samples of the context, so that no block begins between two of them.
      const moment = Math.ceil((context.currentTime + LEAD) * context.sampleRate) / context.sampleRate;
      this.position = block.start;
      this.origin = moment;
      this.running = true;
    }
    const node = new AudioBufferSourceNode(context, { buffer });
    node.connect(/** @type {GainNode} */ (this.output));
    node.onended = () => this.played(node);
    node.start(this.origin + block.start - this.position);
    this.nodes.add(node);
    this.scheduled = block.start + length / file.sampleRate;
    this.setWaiting(false);
    this.emit("block", block);
  }

  /**
   * Go on when a block has been heard.
   * @param {AudioBufferSourceNode} node
   */
  played(node) {
    this.nodes.delete(node);
    this.wake();
    if (this.nodes.size) return;
    if (this.finished) this.finish();
    else this.setWaiting(true);
  }

  /** End the file. */
  finish() {
    const end = this.scheduled;
    this.restart(end);
    this.ended = true;
    this.arrive();
    this.pause();
    this.emit("ended");
  }

  /** @param {boolean} waiting true if there is nothing to hear until more is decoded */
  setWaiting(waiting) {
    const begins = !waiting && this.waiting;
    if (waiting && !this.waiting) this.emit("waiting");
    if (waiting) {
      this.position = this.currentTime;
      this.running = false;
    }
    this.waiting = waiting;
    if (begins) this.arrive();
    if (begins && !this.paused) this.emit("playing");
  }

  /** End a seek. */
  arrive() {
    if (!this.seeking) return;
    this.seeking = false;
    this.emit("seeked");
  }

  setGain() {
    this.output?.gain.setTargetAtTime(this.silent ? 0 : this.gain, this.context?.currentTime ?? 0, 0.01);
    this.emit("volumechange");
  }

  /**
   * @param {string} name
   * @param {unknown} [detail]
   */
  emit(name, detail = null) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/**
 * Decode a sound file as the browser can, resampled.
 * @param {Blob | ArrayBuffer} source
 * @param {number} sampleRate Hz
 * @returns {Promise<{channels: Float32Array[], sampleRate: number}>}
 */
export async function readAudio(source, sampleRate) {
  const bytes = source instanceof Blob ? await source.arrayBuffer() : source;
  const context = new OfflineAudioContext(1, 1, sampleRate);
  const audio = await context.decodeAudioData(bytes).catch(() => {
    throw new CodecError("no sound file that this browser can decode");
  });
  const channels = Array.from({ length: audio.numberOfChannels }, (_, channel) =>
    audio.getChannelData(channel),
  );
  return { channels, sampleRate };
}
