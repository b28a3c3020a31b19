/** The bytes of .lam files: golden files, files that must be refused, and what the Python code reads. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { crc32, hex, joined, varint, varints, view } from "../../assets/web/lamella/fields.js";
import { Prior } from "../../assets/web/lamella/prior.js";
import { Reader } from "../../assets/web/lamella/reader.js";
import { Recording } from "../../assets/web/lamella/recording.js";
import { RecoveringReader } from "../../assets/web/lamella/recovery.js";
import { Writer } from "../../assets/web/lamella/writer.js";
import { joinedCodes, names, read, readNpy } from "./support/files.js";
import { readFile, readStream, recoverFile } from "./support/reading.js";

const PRESET = Prior.fromBytes(read("assets/lamella-48k/prior.safetensors"));
const FOLDER = process.env.LAMELLA_CASES; // written by test_node.py
const NEEDS_CASES = FOLDER
  ? {}
  : { skip: "pytest tests/web/test_node.py writes what the Python code reads, and sets LAMELLA_CASES" };
const PACKED_GOLDEN = names("tests/golden/v1", ".lam").filter((name) => name !== "range-coded");

for (const name of PACKED_GOLDEN) {
  test(`the golden file ${name} has its codes, read whole, in parts and as if it were damaged`, () => {
    checkGolden(`tests/golden/v1/${name}`, null);
  });
}

for (const name of names("tests/golden/lamella-48k", ".lam")) {
  test(`the golden file of lamella-48k at ${name} bit/s has its codes`, () => {
    checkGolden(`tests/golden/lamella-48k/${name}`, PRESET);
  });

  test(`codes of lamella-48k at ${name} bit/s are written as the Python code writes them`, () => {
    const bytes = read(`tests/golden/lamella-48k/${name}.lam`);
    const { reader, chunks } = readFile(bytes, PRESET);
    const writer = new Writer(reader.header, PRESET);
    const chunkBytes = chunks.map(({ codes }) => writer.chunk(codes));
    const before = joined(writer.start(), ...chunkBytes);
    assert.equal(hex(before), hex(bytes.subarray(0, before.length)));
    const written = joined(before, writer.finish(reader.numSamples));
    assert.deepEqual(recoverFile(written, PRESET).chunks.length, chunks.length);
    assert.equal(readFile(written, PRESET).error, null);
  });
}

for (const name of names("tests/negative", ".lam")) {
  test(`the file ${name} is refused, and never hangs`, () => {
    const bytes = read(`tests/negative/${name}.lam`);
    for (const result of [readFile(bytes, null), readStream(bytes, null, 7)]) {
      assert.ok(result.error, "no error");
      assert.ok(!result.error.message.includes("\n"));
    }
    recoverFile(bytes, null);
  });
}

test("files made to mislead are refused, and those that are whole but for their header are restored", () => {
  const failures = {
    "silence-bomb": /^12000 s of sound in \d+ bytes, expected at most \d+ s$/,
    "silence-bomb-live": /^12000 s of sound/,
  };
  for (const name of names("tests/negative/crafted", ".lam")) {
    const recording = recorded(read(`tests/negative/crafted/${name}.lam`));
    assert.match(recording.failure?.message ?? "none", failures[name] ?? /^none$/, name);
    assert.ok(recording.chunks.length > 0, name);
    const damaged = ["more-frames", "header-lost", "header-byte"].includes(name);
    assert.equal(recording.damage !== null, damaged, name);
    assert.deepEqual(recording.losses, [], name);
  }
  assert.match(
    recorded(read("tests/negative/crafted/more-frames.lam")).damage?.message ?? "",
    /frames for \d+ samples, expected at most/,
  );
  const padding = readFile(read("tests/negative/crafted/padding.lam"), PRESET);
  assert.match(padding.error?.message ?? "", /padding bits [01]+, expected zeros$/);
});

test("a file that claims years in a gap is not believed", () => {
  const { failure } = recorded(read("tests/negative/long-claim.lam"));
  assert.match(failure?.message ?? "", /is lost, expected at most 24:00:00.00 in one place$/);
});

test("every length of a cut file gives its complete chunks", () => {
  const bytes = read("tests/golden/v1/varying.lam");
  const offsets = [...(new Reader(bytes).chunkOffsets ?? []), new Reader(bytes).trailer?.offset ?? 0];
  for (let length = 0; length < bytes.length; length++) {
    const whole = offsets.slice(1).filter((end) => length >= end).length;
    for (const { chunks, error } of [
      readFile(bytes.subarray(0, length), null),
      readStream(bytes.subarray(0, length), null, 5),
    ]) {
      assert.equal(error?.name, "Truncated");
      assert.equal(chunks.length, whole);
    }
  }
});

test("every flipped bit is found", () => {
  const bytes = read("tests/golden/v1/varying.lam");
  const whole = readFile(bytes, null).chunks;
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const flipped = bytes.slice();
    flipped[bit >> 3] ^= 1 << (bit & 7);
    for (const { chunks, error } of [readFile(flipped, null), readStream(flipped, null, 50)]) {
      assert.ok(error, `bit ${bit}`);
      chunks.forEach(({ codes }, number) => assert.deepEqual(codes, whole[number].codes));
    }
  }
});

test("a seek by the index gives the same chunks", () => {
  const bytes = read("tests/golden/v1/mono.lam");
  const all = readFile(bytes, null).chunks.map(({ chunk }) => chunk);
  const reader = new Reader(bytes);
  for (const number of [2, 0, 1]) {
    reader.seek(number);
    assert.deepEqual(reader.readChunk(), all[number]);
  }
  assert.throws(() => reader.seek(3), RangeError);
});

test("a damaged header is restored from its copy, and a single wrong byte without one", () => {
  const copied = read("tests/golden/v1/header-copy.lam");
  const { header } = new Reader(copied);
  for (const damage of [(bytes) => bytes.fill(0, 0, 43), (bytes) => bytes.fill(255, 7, 20)]) {
    const bytes = copied.slice();
    damage(bytes);
    const reader = new RecoveringReader(bytes);
    assert.deepEqual(reader.header, header);
    assert.ok(reader.headerRepaired);
  }
  const single = read("tests/golden/v1/mono.lam");
  for (let place = 0; place < 43; place++) {
    const bytes = single.slice();
    bytes[place] ^= 0x5a;
    assert.deepEqual(new RecoveringReader(bytes).header, new Reader(single).header);
  }
});

test("checksums and varints are those of zlib and of the format", () => {
  assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
  const bytes = Uint8Array.from({ length: 1000 }, (_, place) => (place * 37) & 255);
  assert.equal(crc32(bytes.subarray(333), crc32(bytes.subarray(0, 333))), crc32(bytes));
  assert.equal(hex(varint(300)), "ac02");
  for (const value of [0, 127, 128, 300, 2 ** 28 - 1]) assert.deepEqual(varints(varint(value)), [value]);
  assert.equal(varints(Uint8Array.of(0x80)), null);
});

test("the Python code and this one read the same, whatever the damage", NEEDS_CASES, () => {
  const { cases } = content();
  const prior = Prior.fromBytes(caseFile("prior.safetensors"));
  assert.ok(cases.length > 400);
  for (const expected of cases) {
    const bytes = caseFile(`${expected.name}.lam`);
    const read = {
      name: expected.name,
      file: found(readFile(bytes, prior)),
      stream: found(readStream(bytes, prior, 1 << 20)),
      recovered: found(recoverFile(bytes, prior)),
    };
    assert.deepEqual(read, expected);
    assert.deepEqual(
      found(readStream(bytes, prior, 11)).chunks,
      expected.stream.chunks,
      `${expected.name} in parts`,
    );
  }
});

test("a prior codes as the Python code, also where its sums need more than 32 bits", NEEDS_CASES, () => {
  const { priors } = content();
  const kinds = new Set();
  for (const { name, codes, payload, random } of priors) {
    const prior = Prior.fromBytes(caseFile(`${name}.safetensors`));
    kinds.add(prior.layers.hidden1.sums.constructor);
    assert.equal(hex(prior.pack(Int32Array.from(codes), 2, 12, 3)), payload);
    assert.deepEqual([...prior.unpack(bytesOf(payload), 2, 12, 3, "here")], codes);
    for (const { payload: bytes, fault, codes: read } of random) {
      const unpack = () => [...prior.unpack(bytesOf(bytes), 2, 3, 3, "here")];
      if (fault) assert.throws(unpack, { name: "BitstreamError", message: `here: ${fault}` });
      else assert.deepEqual(unpack(), read);
    }
  }
  assert.deepEqual(kinds, new Set([Int32Array, Float64Array]));
});

test("a damaged prior is refused with one line", () => {
  const bytes = read("assets/lamella-48k/prior.safetensors");
  const size = Number(view(bytes).getBigUint64(0, true));
  const json = new TextDecoder().decode(bytes.subarray(8, 8 + size));
  const changed = (from, to) => {
    const text = new TextEncoder().encode(json.replace(from, to));
    const head = new Uint8Array(8);
    view(head).setBigUint64(0, BigInt(text.length), true);
    return joined(head, text, bytes.subarray(8 + size));
  };
  for (const data of [
    new Uint8Array(0),
    bytes.subarray(0, 100),
    bytes.subarray(0, bytes.length - 1),
    changed('"order"', '"other"'),
    changed('"I32"', '"F32"'),
    changed("[30,1024]", "[1024,30]"),
    changed("{", "["),
  ]) {
    assert.throws(
      () => Prior.fromBytes(data),
      (error) => error.name === "ModelError" && !error.message.includes("\n"),
    );
  }
});

function recorded(bytes) {
  const recording = new Recording();
  recording.append(bytes);
  recording.end();
  return recording;
}

function checkGolden(path, prior) {
  const bytes = read(`${path}.lam`);
  const expected = readNpy(read(`${path}.npy`));
  const results = [
    readFile(bytes, prior),
    readStream(bytes, prior, prior ? 1000 : 1),
    recoverFile(bytes, prior),
  ];
  for (const { reader, chunks, error } of results) {
    assert.equal(error, null);
    assert.deepEqual(joinedCodes(reader.header, chunks), expected);
  }
}

function found({ reader, chunks, error }) {
  return {
    error: error && { name: error.name, message: error.message },
    num_samples: reader && Number(reader.numSamples ?? NaN) === reader.numSamples ? reader.numSamples : null,
    chunks: chunks.map(({ chunk, codes }) => {
      const { index, startFrame, frames, codebooks } = chunk;
      const channels = reader.header.channels;
      return [index, startFrame, channels, frames, codebooks, crc32(new Uint8Array(codes.buffer))];
    }),
  };
}

function content() {
  return JSON.parse(readFileSync(`${FOLDER}/cases.json`, "utf8"));
}

function caseFile(name) {
  return new Uint8Array(readFileSync(`${FOLDER}/${name}`));
}

function bytesOf(digits) {
  return Uint8Array.from(digits.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}
