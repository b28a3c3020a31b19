/**
 * Lamella in the browser: plays and makes .lam files. Nothing leaves the machine.
 *
 *     import { Lamella, Player } from "./lamella.js";
 *
 *     const lamella = new Lamella({ model: "model/" });
 *     const file = await lamella.open("talk.lam");
 *     const player = new Player();
 *     player.load(file);
 *     button.onclick = () => player.play();
 *
 * | module | what it does |
 * |---|---|
 * | client.js, player.js | for pages: a model in a worker, its files, and playing them |
 * | service.js, worker.js | the worker |
 * | recording.js, playback.js, decoder.js, encoder.js | bytes to sound, while they arrive, and back |
 * | model.js | the graphs, run by onnxruntime-web |
 * | reader.js, recovery.js, writer.js and the modules that they use | codes to bytes and back, without a model |
 */

export { Encoder, LamFile, Lamella, RUNTIME } from "./lamella/client.js";
export { Player, readAudio } from "./lamella/player.js";
export * from "./lamella/errors.js";
