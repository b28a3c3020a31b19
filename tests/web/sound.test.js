/** Sound: files as the Python code decodes them, damaged ones too, and back to files that it reads. */

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { after, test } from "node:test";

import {
  FOLDER,
  NEEDS_MODEL,
  difference,
  joinedBlocks,
  openModel,
  samplesOf,
  written,
} from "./support/model.js";

const TOLERANCE = 1e-3; // of full scale
const SOUNDS = NEEDS_MODEL.skip ? [] : JSON.parse(readFileSync(`${FOLDER}/sounds.json`, "utf8"));
const lamella = NEEDS_MODEL.skip ? null : openModel();
after(() => lamella?.close());

/** Write the folder of a model that has only a manifest; return its path. */
function writtenModel(name, manifest) {
  mkdirSync(`${FOLDER}/${name}`, { recursive: true });
  writeFileSync(`${FOLDER}/${name}/manifest.json`, manifest);
  return `${FOLDER}/${name}`;
}

/** Return a stream that gives bytes some at a time. */
function slow(bytes, step) {
  let place = 0;
  return new ReadableStream({
    async pull(controller) {
      await new Promise((resolve) => setTimeout(resolve));
      if (place < bytes.length) controller.enqueue(bytes.slice(place, (place += step)));
      else controller.close();
    },
  });
}

test("every file sounds as Python decodes it, while it arrives", NEEDS_MODEL, async () => {
  for (const { name, samples, channels, losses } of SOUNDS) {
    const file = await lamella.open(slow(written(`${name}.lam`), 97));
    const { start, channels: sound, longest } = await joinedBlocks(file.blocks());
    const expected = samples ? samplesOf(`${name}.f32`, channels) : [];
    assert.equal(start, 0, name);
    assert.ok(difference(sound, expected) < TOLERANCE, `${name}: ${difference(sound, expected)}`);
    assert.ok(longest <= 2 * file.sampleRate, name);
    await file.whenComplete();
    assert.deepEqual(
      file.losses.map(({ text }) => text),
      losses,
      name,
    );
    assert.equal(file.damage === null, losses.length === 0 && name !== "header-damaged", name);
    assert.equal(file.failure, null, name);
    file.close();
  }
});

test("a part of a file has the samples of the whole", NEEDS_MODEL, async () => {
  for (const name of ["talk", "stereo", "quality", "frames", "long-chunks"]) {
    const file = await lamella.open(written(`${name}.lam`));
    const whole = (await joinedBlocks(file.blocks())).channels;
    for (const [from, to] of [
      [0.3, 0.31],
      [0.5, Infinity],
      [0, 0.001],
    ]) {
      const first = Math.round(from * file.sampleRate);
      const last = Math.min(whole[0].length, Math.round(to * file.sampleRate));
      if (first >= whole[0].length) continue;
      const { start, channels } = await joinedBlocks(file.blocks({ start: from, end: to }));
      assert.equal(start, first);
      const expected = whole.map((samples) => samples.subarray(first, last));
      assert.ok(difference(channels, expected) < 1e-4, `${name} from ${from} to ${to}`);
    }
    assert.deepEqual(await joinedBlocks(file.blocks({ start: 99 })), { start: 0, channels: [], longest: 0 });
    file.close();
  }
});

test("sound comes before the file is whole", NEEDS_MODEL, async () => {
  const bytes = written("live.lam");
  let give = () => {};
  const source = new ReadableStream({
    start(controller) {
      controller.enqueue(bytes.slice(0, bytes.length / 2));
      give = () => {
        controller.enqueue(bytes.slice(bytes.length / 2));
        controller.close();
      };
    },
  });
  const file = await lamella.open(source);
  assert.equal(file.duration, null);
  const blocks = file.blocks();
  const { value: first } = await blocks.next();
  assert.ok(first && first.channels[0].length > 0 && !file.complete);
  give();
  const rest = await joinedBlocks(blocks);
  await file.whenComplete();
  assert.equal(first.sample + first.channels[0].length, rest.start);
  assert.equal(rest.start + rest.channels[0].length, file.numSamples);
  assert.equal(file.duration, file.numSamples / file.sampleRate);
});

test("the bits over time and the facts of a file are known", NEEDS_MODEL, async () => {
  const file = await lamella.open(new Blob([written("quality.lam")]), { name: "talk.lam" });
  await file.whenComplete();
  assert.equal(file.name, "talk.lam");
  assert.equal(file.totalBytes, file.bytes);
  assert.equal(file.header.modelId, file.lamella.manifest?.model_id ?? file.header.modelId);
  assert.ok(
    file.chunks.some(({ codebooks }) => codebooks === 0) &&
      file.chunks.some(({ codebooks }) => codebooks > 0),
  );
  file.chunks.forEach((chunk, number) => assert.equal(chunk.number, number));
  assert.ok(file.chunks.reduce((sum, { bytes }) => sum + bytes, 0) < file.bytes);
  const damaged = await lamella.open(written("lost-middle.lam"));
  await damaged.whenComplete();
  assert.deepEqual(
    damaged.chunks.map(({ lost }) => lost),
    [false, true, false, false, false].slice(0, damaged.chunks.length),
  );
  assert.match(damaged.damage, /^chunk 1 at byte \d+ \(0\.\d\d s\): checksum /);
});

test("what cannot be opened is said in one line", NEEDS_MODEL, async () => {
  const other = written("talk.lam");
  other[23] ^= 1; // another model, and a wrong checksum: restored, so the file opens
  await (await lamella.open(other)).close();
  const letter = new TextEncoder().encode("Dear reader,\n");
  await assert.rejects(lamella.open(letter), { name: "BitstreamError", message: /^not a Lamella file: / });
  await assert.rejects(lamella.open(new Uint8Array(0)), { name: "Truncated" });
  const mono = new Uint8Array(readFileSync(new URL("../golden/v1/mono.lam", import.meta.url)));
  await assert.rejects(lamella.open(mono), {
    name: "WrongModel",
    message:
      /^header: model 0123456789abcdef at byte 23, expected [0-9a-f]{16}: decode with the model that coded it$/,
  });
  await assert.rejects(lamella.open("http://127.0.0.1:9/none.lam"), { name: "NetworkError" });
  const lost = written("talk.lam").slice(0, 60);
  const file = await lamella.open(lost);
  await assert.rejects(joinedBlocks(file.blocks()), { message: "no chunk is left that could be decoded" });
  await file.whenComplete();
  assert.equal(file.failure, "no chunk is left that could be decoded");
});

test("a connection that breaks gives the sound before", NEEDS_MODEL, async () => {
  const bytes = written("talk.lam");
  const source = new ReadableStream({
    start(controller) {
      controller.enqueue(bytes.slice(0, bytes.length - 300));
      setTimeout(() => controller.error(new Error("the connection broke")), 20);
    },
  });
  const file = await lamella.open(source);
  const { channels } = await joinedBlocks(file.blocks());
  assert.equal(channels[0].length, file.numSamples);
  await file.whenComplete();
  assert.equal(file.damage, "file cannot be loaded: the connection broke");
  assert.equal(file.losses.length, 1);
});

test("a missing or false model is said in one line", NEEDS_MODEL, async () => {
  const missing = openModel("/nonexistent");
  await assert.rejects(missing.ready(), { name: "ModelError", message: /manifest\.json: no such file/ });
  missing.close();
  const manifest = JSON.parse(readFileSync(`${FOLDER}/model/manifest.json`, "utf8"));
  for (const [content, message] of [
    ["{", /not JSON/],
    ["null", /sample_rate is undefined, expected an integer/],
    [JSON.stringify({ ...manifest, hop_length: "960" }), /hop_length is 960, expected an integer/],
    [JSON.stringify({ ...manifest, functions: {} }), /no function encode/],
  ]) {
    const wrong = openModel(writtenModel("wrong", content));
    await assert.rejects(wrong.ready(), { name: "ModelError", message });
    wrong.close();
  }
});

test("of several models, the one that made the file decodes it", NEEDS_MODEL, async () => {
  const manifest = JSON.parse(readFileSync(`${FOLDER}/model/manifest.json`, "utf8"));
  const other = JSON.stringify({
    ...manifest,
    model_id: "0".repeat(16),
    earlier_model_ids: ["0123456789abcdef"],
  });
  const both = openModel([writtenModel("other", other), `${FOLDER}/model`]);
  const file = await both.open(written("talk.lam"));
  assert.ok((await joinedBlocks(file.blocks({ end: 0.1 }))).channels[0].length > 0);
  await both.loadManifest();
  assert.equal(both.manifest.model_id, "0".repeat(16));
  await assert.rejects(
    both.open(new Uint8Array(readFileSync(new URL("../golden/v1/mono.lam", import.meta.url)))),
    {
      name: "BitstreamError",
      message: /^header: \(rate, hop, bits\) \(48000, 960, 10\) and 3 codebooks, expected /,
    },
  );
  both.close();
});

test("background decoding waits for the foreground", NEEDS_MODEL, async () => {
  const file = await lamella.open(written("talk.lam"));
  const [behind, before] = [file.blocks({ background: true }), file.blocks()];
  const order = [];
  await Promise.all([
    behind.next().then(() => order.push("behind")),
    before.next().then(() => order.push("before")),
  ]);
  assert.deepEqual(order, ["before", "behind"]);
  await Promise.all([behind.return(), before.return()]);
});

test("sound becomes a file that decodes to it again; Python checks the file", NEEDS_MODEL, async () => {
  await lamella.ready();
  for (const channels of [1, 2]) {
    const source = samplesOf(`source-${channels}.f32`, channels);
    for (const { bitrate } of [lamella.bitrates[0], lamella.bitrates.at(-1)]) {
      let seconds = 0;
      const bytes = await lamella.encode(source, { bitrate, onprogress: (done) => (seconds = done) });
      writeFileSync(`${FOLDER}/encoded-${channels}-${bitrate}.lam`, bytes);
      assert.equal(seconds, source[0].length / lamella.manifest.sample_rate);
      const file = await lamella.open(bytes);
      const sound = await joinedBlocks(file.blocks());
      assert.deepEqual(
        sound.channels.map((samples) => samples.length),
        source.map((samples) => samples.length),
      );
      assert.equal(file.damage, null);
    }
  }
});

test("a live file is the same sound, whatever the size of the parts", NEEDS_MODEL, async () => {
  const [source] = samplesOf("source-1.f32", 1);
  const files = [];
  for (const step of [333, source.length]) {
    const encoder = await lamella.encoder({ channels: 1 });
    const parts = [];
    for (let start = 0; start < source.length; start += step) {
      parts.push(await encoder.push([source.slice(start, start + step)]));
    }
    assert.equal(encoder.numSamples, source.length);
    parts.push(await encoder.finish());
    files.push(Buffer.concat(parts));
  }
  assert.deepEqual(files[0], files[1]);
  const file = await lamella.open(new Uint8Array(files[0]));
  const { channels } = await joinedBlocks(file.blocks());
  assert.equal(channels[0].length, source.length);
});

test("what cannot be encoded is said", NEEDS_MODEL, async () => {
  const silence = new Float32Array(100);
  await assert.rejects(
    lamella.encode([silence], { bitrate: 17 }),
    /^RangeError: bitrate 17 bits per second is not one of /,
  );
  await assert.rejects(lamella.encode([]), RangeError);
  await assert.rejects(lamella.encode([silence, new Float32Array(99)]), RangeError);
  await assert.rejects(lamella.encode([silence.fill(NaN)]), /finite/);
  const aborted = AbortSignal.abort();
  await assert.rejects(lamella.encode([silence], { signal: aborted }), { name: "AbortError" });
});
