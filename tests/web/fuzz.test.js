/** Damaged and made-up bytes never hang the library and never throw anything but its own errors. */

import { test } from "node:test";

import { fuzz } from "./support/fuzz.js";

const INPUTS = 2_000; // `node tests/web/support/fuzz.js 100000` tries more
const SEED = 25;

test(`${INPUTS} mutated inputs give codes or a clear error`, async () => {
  await fuzz(INPUTS, SEED);
});
