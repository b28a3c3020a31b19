/** The cards of the page that record a sound and compress one. */

import { readAudio } from "../lamella.js";
import { byId, make } from "./dom.js";
import { Recorder } from "./recorder.js";
import { showBytes, showChannels, showTime } from "./words.js";

const DEFAULT_BITRATE = 6000; // bits per second and channel

/** Compress sounds. Sends the event `compressed` with `detail`: {file, link} for each new .lam file. */
export class CompressCard extends EventTarget {
  /** @param {Promise<import("../lamella.js").Lamella>} lamella */
  constructor(lamella) {
    super();
    this.lamella = lamella;
    this.sound = null; // {name, bytes, channels, sampleRate, seconds}
    this.link = null;
    byId("compress").addEventListener("click", () => this._compress());
  }

  /**
   * Take a sound file in any form that the browser decodes, and offer to compress it. The model must be ready.
   * @param {File} file
   * @param {() => boolean} isWanted false if another file was opened while this one is decoded
   */
  async show(file, isWanted) {
    const lamella = await this.lamella;
    const sampleRate = lamella.manifest.sample_rate;
    const { channels } = await readAudio(file, sampleRate).catch(() => {
      throw new Error("it is neither a .lam file nor a sound that this browser can decode");
    });
    if (!isWanted()) return;
    this.sound = { name: file.name, channels, sampleRate, seconds: channels[0].length / sampleRate };
    byId("compressor").hidden = false;
    byId("compressor-title").textContent = `Compress ${file.name}`;
    const facts = [showTime(this.sound.seconds), showChannels(channels.length), showBytes(file.size)];
    byId("compressor-facts").textContent = facts.join(" · ");
    byId("compress-result").replaceChildren();
    this._offerBitrates(lamella.bitrates);
  }

  /** Put the sound away, and stop compressing it. */
  close() {
    this.compressing?.abort();
    this.sound = null;
    byId("compressor").hidden = true;
  }

  /** @param {{bitrate: number}[]} bitrates */
  _offerBitrates(bitrates) {
    const { seconds, channels } = this.sound;
    const rates = bitrates.map(({ bitrate }) => bitrate);
    const distance = (rate) => Math.abs(rate - DEFAULT_BITRATE);
    const nearest = rates.reduce((best, rate) => (distance(rate) < distance(best) ? rate : best));
    const choices = rates.map((rate) => {
      const size = `about ${showBytes(Math.round((rate * channels.length * seconds) / 8))}`;
      const input = make("input", { type: "radio", name: "bitrate", value: String(rate), checked: rate === nearest });
      return make("label", {}, [input, make("span", {}, [`${rate / 1000} kbit/s`, make("small", { textContent: size })])]);
    });
    byId("bitrates").replaceChildren(...choices);
  }

  async _compress() {
    const { sound } = this;
    const [progress, result] = [byId("compress-progress"), byId("compress-result")];
    const bitrate = Number(document.querySelector("input[name=bitrate]:checked").value);
    this.compressing = new AbortController();
    byId("compress").disabled = true;
    Object.assign(progress, { hidden: false, value: 0 });
    result.replaceChildren();
    try {
      const onprogress = (seconds) => (progress.value = seconds / sound.seconds);
      const lamella = await this.lamella;
      const bytes = await lamella.encode(sound.channels, { bitrate, onprogress, signal: this.compressing.signal });
      if (sound === this.sound) this._offer(bytes);
    } catch (error) {
      if (sound === this.sound) this.dispatchEvent(new CustomEvent("error", { detail: { error, name: sound.name } }));
    } finally {
      progress.hidden = true;
      byId("compress").disabled = false;
    }
  }

  /** @param {Uint8Array} bytes of the new .lam file */
  _offer(bytes) {
    const { name, seconds, channels, sampleRate } = this.sound;
    const file = new File([bytes], name.replace(/\.[^.]*$/, "") + ".lam");
    if (this.link) URL.revokeObjectURL(this.link);
    this.link = URL.createObjectURL(file);
    const times = Math.round((2 * channels.length * seconds * sampleRate) / bytes.length);
    const size = make("span", {}, [make("strong", { textContent: showBytes(bytes.length) }), `, ${times} times smaller than 16-bit WAV`]);
    const download = make("a", { className: "button", href: this.link, download: file.name, textContent: `Download ${file.name}` });
    byId("compress-result").replaceChildren(size, download);
    this.dispatchEvent(new CustomEvent("compressed", { detail: { file, link: this.link } }));
  }
}

/** Record from the microphone. Sends the events `recorded` with `detail`: the sound as a File, and `error`. */
export class RecordCard extends EventTarget {
  constructor() {
    super();
    this.recorder = null;
    byId("record").addEventListener("click", () => this._start());
    byId("stop").addEventListener("click", () => this._stop());
  }

  async _start() {
    const recorder = new Recorder();
    recorder.addEventListener("level", ({ detail }) => {
      byId("recorded-time").textContent = showTime(detail.seconds);
      byId("level").value = detail.level;
    });
    byId("record").disabled = true;
    try {
      await recorder.start();
      this.recorder = recorder;
      byId("recorder").hidden = false;
      byId("stop").focus();
    } catch (error) {
      byId("record").disabled = false;
      this.dispatchEvent(new CustomEvent("error", { detail: { error, name: "The microphone" } }));
    }
  }

  async _stop() {
    const file = await this.recorder.stop();
    byId("recorder").hidden = true;
    byId("record").disabled = false;
    this.dispatchEvent(new CustomEvent("recorded", { detail: file }));
  }
}
