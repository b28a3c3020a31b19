/** The card of the page that plays a sound and shows it over time. */

import { Player } from "../lamella.js";
import { Analysis } from "./analysis.js";
import { byId, make } from "./dom.js";
import { Pictures } from "./pictures.js";
import { sayTime, showBitrate, showBytes, showChannels, showTime } from "./words.js";
import { wavOf } from "./wav.js";

const HEAD_START = 500; // milliseconds that the first sound has before the pictures
const MOST_LOSSES = 6; // that are listed
const TICK_STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400]; // seconds
const TICK_PIXELS = 90; // between two times under the pictures

/** The card. It sends the event `error` with `detail`: {error, name}. */
export class SoundCard extends EventTarget {
  constructor() {
    super();
    this.player = new Player();
    this.file = null;
    this.pictures = new Pictures({ waveform: byId("waveform"), spectrogram: byId("spectrogram"), bits: byId("bits") });
    this._connectPlayer();
    this._connectControls();
    const move = () => {
      this._showPosition();
      requestAnimationFrame(move);
    };
    requestAnimationFrame(move);
    new ResizeObserver(() => this._showTicks()).observe(byId("ticks"));
  }

  /**
   * Show a file and make it ready to play.
   * @param {import("../lamella.js").LamFile} file
   * @param {string | null} link where the file can be downloaded
   */
  show(file, link) {
    this.close();
    this.file = file;
    this.reading = new AbortController();
    this.player.load(file);
    for (const event of ["progress", "complete", "damage"]) {
      file.addEventListener(event, () => this._showFile(), { signal: this.reading.signal });
    }
    this.analysis = new Analysis(file.sampleRate, file.duration);
    byId("player").hidden = false;
    byId("player-title").textContent = file.name;
    byId("download").hidden = link === null;
    if (link !== null) Object.assign(byId("download"), { href: link, download: file.name });
    this._showFile();
  }

  /** Decode the whole file for the pictures, where nothing else waits. The model must be ready. */
  async analyse() {
    const { signal } = this.reading;
    await new Promise((resolve) => setTimeout(resolve, HEAD_START));
    if (!signal.aborted) await this._analyse(signal);
  }

  /** Put the file away. */
  close() {
    if (!this.file) return;
    this.reading.abort();
    this.player.unload();
    this.file.close();
    this.file = null;
    byId("player").hidden = true;
  }

  /** Play, or pause. */
  async toggle() {
    if (!this.player.paused) this.player.pause();
    else await this.player.play().catch((error) => this._fail(error));
  }

  /**
   * Go to another place.
   * @param {number} seconds
   */
  seek(seconds) {
    this.player.seek(Math.max(0, Math.min(this._seconds(), seconds)));
    this._showPosition();
  }

  /**
   * Do what a key stands for.
   * @param {KeyboardEvent} event
   * @returns {boolean} true if the key stands for something
   */
  press(event) {
    const step = event.shiftKey ? 1 : 5;
    const actions = {
      " ": () => this.toggle(),
      ArrowLeft: () => this.seek(this.player.currentTime - step),
      ArrowRight: () => this.seek(this.player.currentTime + step),
      ArrowUp: () => this._setVolume(this.player.volume + 0.1),
      ArrowDown: () => this._setVolume(this.player.volume - 0.1),
      Home: () => this.seek(0),
      End: () => this.seek(this._seconds()),
      m: () => this._toggleMuted(),
    };
    const digit = /^[0-9]$/.test(event.key) ? () => this.seek((this._seconds() * Number(event.key)) / 10) : undefined;
    const action = digit ?? actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (action && this.file) action();
    return Boolean(action && this.file);
  }

  /** Return the length of the sound as far as it is known. */
  _seconds() {
    return this.file.duration ?? this.file.loaded;
  }

  _connectPlayer() {
    const { player } = this;
    for (const event of ["play", "pause", "playing", "waiting", "ended", "seeked"]) {
      player.addEventListener(event, () => this._showState());
    }
    player.addEventListener("volumechange", () => this._showVolume());
    player.addEventListener("error", ({ detail }) => this._fail(detail));
  }

  _connectControls() {
    byId("play").addEventListener("click", () => this.toggle());
    byId("mute").addEventListener("click", () => this._toggleMuted());
    byId("volume").addEventListener("input", ({ target }) => this._setVolume(target.valueAsNumber));
    byId("position").addEventListener("input", ({ target }) => this.seek(target.valueAsNumber));
    byId("save-wav").addEventListener("click", () => this._saveWav());
  }

  _setVolume(volume) {
    this.player.muted = false;
    this.player.volume = Math.max(0, Math.min(1, volume));
  }

  _toggleMuted() {
    this.player.muted = !this.player.muted;
  }

  _showVolume() {
    byId("volume").value = this.player.muted ? 0 : this.player.volume;
    byId("mute").setAttribute("aria-pressed", String(this.player.muted));
  }

  _showState() {
    const playing = !this.player.paused && !this.player.ended;
    byId("play").classList.toggle("playing", playing);
    byId("play").setAttribute("aria-label", playing ? "Pause" : "Play");
    byId("buffering").textContent = playing && this.player.waiting ? "waiting for sound …" : "";
  }

  /** Show the place that is heard, on each frame of the screen. */
  _showPosition() {
    if (!this.file) return;
    const [now, seconds] = [this.player.currentTime, this._seconds()];
    const share = seconds ? Math.min(1, now / seconds) : 0;
    byId("played").style.transform = `translateX(${100 * share - 100}%)`;
    const position = byId("position");
    position.max = String(seconds);
    position.value = String(now);
    const spoken = `${sayTime(now)} of ${sayTime(seconds)}`;
    if (position.getAttribute("aria-valuetext") === spoken) return;
    position.setAttribute("aria-valuetext", spoken);
    byId("now").textContent = showTime(now);
  }

  /** Show what is known of the file by now. */
  _showFile() {
    const { file } = this;
    const seconds = this._seconds();
    byId("duration").textContent = showTime(seconds);
    byId("player-facts").textContent = this._facts().join(" · ");
    this._showDamage();
    this._showTicks();
    const losses = file.losses.map(({ start, end }) => ({ start, end: end ?? seconds }));
    const chunks = file.chunks.map((chunk) => ({ start: chunk.start, seconds: chunk.seconds, bits: 8 * chunk.bytes }));
    this.pictures.picture = { analysis: this.analysis, seconds, chunks, losses };
    this.pictures.update();
  }

  _facts() {
    const { file } = this;
    const [seconds, bytes] = [this._seconds(), file.totalBytes || file.bytes];
    const facts = [showTime(seconds), showChannels(file.channels), `${file.header.sampleRate / 1000} kHz`];
    if (seconds && file.complete) facts.push(showBitrate((8 * bytes) / seconds));
    facts.push(file.complete || !file.totalBytes ? showBytes(bytes) : `${showBytes(file.bytes)} of ${showBytes(bytes)} loaded`);
    return facts;
  }

  _showDamage() {
    const { damage, losses } = this.file;
    byId("damage").hidden = damage === null;
    if (damage === null) return;
    const listed = losses.slice(0, MOST_LOSSES).map((loss) => loss.text);
    if (losses.length > MOST_LOSSES) listed.push(`${losses.length - MOST_LOSSES} more`);
    const lost = listed.length ? ` Lost and replaced by a short continuation: ${listed.join(", ")}.` : "";
    byId("damage").replaceChildren(make("strong", { textContent: "This file is damaged." }), `${lost} First fault: ${damage}.`);
  }

  /** Write times under the pictures. */
  _showTicks() {
    if (!this.file) return;
    const [seconds, width] = [this._seconds(), byId("ticks").clientWidth];
    const step = TICK_STEPS.find((step) => (step * width) / seconds >= TICK_PIXELS) ?? TICK_STEPS.at(-1);
    const spans = [];
    for (let tick = 0; tick * step <= seconds && (tick * step * width) / seconds < width - 20; tick++) {
      const span = make("span", { textContent: showTime(tick * step, step < 1 ? 1 : 0) });
      span.style.left = `${(100 * tick * step) / seconds}%`;
      spans.push(span);
    }
    byId("ticks").replaceChildren(...spans);
  }

  async _analyse(signal) {
    try {
      for await (const block of this.file.blocks({ background: true, signal })) {
        if (signal.aborted) return;
        this.analysis.add(block.sample, block.channels);
        this.pictures.update();
      }
      this.analysis.finish();
      this.pictures.update();
    } catch (error) {
      if (!signal.aborted) this._fail(error);
    }
  }

  /** Decode the whole file and hand it over as a WAV file. */
  async _saveWav() {
    const { file } = this;
    const button = byId("save-wav");
    button.disabled = true;
    try {
      const blocks = [];
      for await (const block of file.blocks({ signal: this.reading.signal })) {
        blocks.push(block.channels);
        button.textContent = `Decoding ${showTime(block.start)}`;
      }
      const url = URL.createObjectURL(wavOf(blocks, file.sampleRate, file.channels));
      make("a", { href: url, download: file.name.replace(/\.lam$/i, "") + ".wav" }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      if (file === this.file) this._fail(error);
    } finally {
      Object.assign(button, { disabled: false, textContent: "Save as WAV" });
    }
  }

  _fail(error) {
    this.dispatchEvent(new CustomEvent("error", { detail: { error, name: this.file?.name ?? "" } }));
  }
}
