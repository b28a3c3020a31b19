/** The page: opens what is dropped, chosen, linked or recorded, and says what went wrong. */

import { Lamella, RUNTIME } from "../lamella.js";
import { CompressCard, RecordCard } from "./compress-card.js";
import { byId, make } from "./dom.js";
import { SoundCard } from "./sound-card.js";
import { showBytes } from "./words.js";

const SETTINGS = "page.json"; // {"runtime": folder or null, "models": [folder, ..], "files": [{name, url, bytes}, ..]}
const FAULTS = {
  Truncated: "is cut off",
  ChecksumMismatch: "is damaged",
  UnsupportedVersion: "needs a newer version of this page",
  WrongModel: "was made by another model",
  NetworkError: "cannot be loaded",
};
const PARTS = { runtime: "ONNX Runtime", decoder: "the decoder", encoder: "the encoder", prior: "the prior" };

async function start() {
  document.body.classList.add("empty");
  const settings = fetch(SETTINGS).then((answer) => answer.json());
  const page = new Page(settings.then(lamellaOf)); // what is dropped before the settings are there waits for them
  page.list((await settings).files);
  const link = new URLSearchParams(location.search).get("file");
  if (link) await page.openLink(link);
}

function lamellaOf(settings) {
  const lamella = new Lamella({ model: settings.models, runtime: settings.runtime ?? RUNTIME });
  lamella.addEventListener("progress", ({ detail }) => showLoading(detail));
  lamella.addEventListener("error", ({ detail }) => showError(detail, "This page"));
  return lamella;
}

/** Connects the cards of the page. */
class Page {
  /** @param {Promise<Lamella>} lamella */
  constructor(lamella) {
    this.lamella = lamella;
    this.opened = 0; // how many sounds were opened; an earlier one that is still loading gives way to a later one
    this.sound = new SoundCard();
    this.compressor = new CompressCard(lamella);
    this.recorder = new RecordCard();
    this._connectCards();
    this._connectOpening();
    document.addEventListener("keydown", (event) => this._press(event));
  }

  /**
   * List files to play.
   * @param {{name: string, url: string, bytes: number}[]} files
   */
  list(files) {
    byId("files").hidden = files.length === 0;
    const items = files.map(({ name, url, bytes }) => {
      const button = make("button", { type: "button" }, [name, make("small", { textContent: showBytes(bytes) })]);
      button.addEventListener("click", () => this._play(url, name, url, button));
      return make("li", {}, [button]);
    });
    byId("file-list").replaceChildren(...items);
  }

  /**
   * Open what `?file=` names. It does not play by itself.
   * @param {string} link relative to the page
   */
  async openLink(link) {
    const url = new URL(link, location.href);
    const name = decodeURIComponent(url.pathname.split("/").at(-1)) || url.href;
    await this._open(url.href, name, url.href);
  }

  /**
   * Open a .lam file and play it, or offer to compress any other sound.
   * @param {File} file
   */
  async openFile(file) {
    if (await isLam(file)) await this._play(file, file.name, null);
    else await this._offerToCompress(file);
  }

  async _play(source, name, link, button = null) {
    this.compressor.close();
    for (const other of document.querySelectorAll("#file-list button")) {
      other.setAttribute("aria-current", String(other === button));
    }
    if (await this._open(source, name, link)) await this.sound.toggle();
  }

  /** Open a .lam file; return true if that went well. */
  async _open(source, name, link) {
    this.sound.close();
    return this._try(name, async (lamella, isLatest) => {
      const file = await lamella.open(source, { name });
      if (isLatest()) this.sound.show(file, link);
      else file.close();
      await lamella.ready();
      if (isLatest()) this.sound.analyse();
    });
  }

  async _offerToCompress(file) {
    this.sound.close();
    this.compressor.close();
    await this._try(file.name, async (lamella, isLatest) => {
      await lamella.ready();
      await this.compressor.show(file, isLatest);
    });
  }

  /**
   * Open a sound and show the error if that fails.
   * @param {string} name
   * @param {(lamella: Lamella, isLatest: () => boolean) => Promise<void>} action `isLatest` returns false once another
   *   sound is opened
   * @returns {Promise<boolean>} true if it went well and is the latest
   */
  async _try(name, action) {
    const number = ++this.opened;
    const isLatest = () => number === this.opened;
    byId("error").hidden = true;
    document.body.classList.remove("empty");
    try {
      const lamella = await this.lamella;
      await action(lamella, isLatest);
      showModel(lamella.manifest);
    } catch (error) {
      if (isLatest()) showError(error, name);
      return false;
    } finally {
      byId("status").textContent = "";
    }
    return isLatest();
  }

  _connectCards() {
    for (const card of [this.sound, this.compressor, this.recorder]) {
      card.addEventListener("error", ({ detail }) => showError(detail.error, detail.name));
    }
    this.compressor.addEventListener("compressed", ({ detail }) => this._open(detail.file, detail.file.name, detail.link));
    this.recorder.addEventListener("recorded", ({ detail }) => this.openFile(detail));
  }

  _connectOpening() {
    const input = byId("file");
    byId("choose").addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      if (input.files.length) this.openFile(input.files[0]);
      input.value = "";
    });
    for (const event of ["dragenter", "dragover", "dragleave", "drop"]) {
      document.addEventListener(event, (drag) => {
        drag.preventDefault();
        document.body.classList.toggle("dropping", event.startsWith("drage") || event === "dragover");
      });
    }
    document.addEventListener("drop", ({ dataTransfer }) => {
      if (dataTransfer.files.length) this.openFile(dataTransfer.files[0]);
    });
  }

  /** Leave a key to the control that has the focus, if it uses it. */
  _press(event) {
    const { target } = event;
    const isSlider = target.matches?.("#volume, input[type=radio]") && event.key.startsWith("Arrow");
    const isPressed = target.matches?.("button, a, summary, input[type=radio]") && event.key === " ";
    if (event.ctrlKey || event.metaKey || event.altKey || isSlider || isPressed) return;
    if (this.sound.press(event)) event.preventDefault();
  }
}

/** Return true for a file that is named .lam or begins as one. */
async function isLam(file) {
  if (/\.lam$/i.test(file.name)) return true;
  return (await file.slice(0, 3).text().catch(() => "")) === "LAM";
}

function showLoading({ part, loaded, total }) {
  const size = total ? `${showBytes(loaded)} of ${showBytes(total)}` : showBytes(loaded);
  byId("status").textContent = total && loaded >= total ? "" : `Loading ${PARTS[part] ?? part}: ${size}`;
}

function showModel(manifest) {
  byId("model").textContent = `Model ${manifest.model_id}, ${manifest.sample_rate / 1000} kHz`;
}

/**
 * Say what is wrong.
 * @param {Error} error
 * @param {string} name of what cannot be used
 */
function showError(error, name) {
  const title = error.name === "ModelError" ? "The model of this page cannot be loaded." : `${name} ${fault(error)}.`;
  const found = error.message.replace(/^not a Lamella file: /, "found ");
  const message = found.endsWith(".") ? found : `${found}.`;
  byId("error").replaceChildren(make("strong", { textContent: title }), ` ${sentence(message)}`);
  byId("error").hidden = false;
}

/** Return a message with a capital letter, unless it begins with an address. */
function sentence(message) {
  return /^\w+:\/\//.test(message) ? message : message[0].toUpperCase() + message.slice(1);
}

function fault(error) {
  if (error.message.startsWith("not a Lamella file")) return "is not a .lam file";
  return FAULTS[error.name] ?? "cannot be used";
}

start().catch((error) => showError(error, "This page"));
