/** A small random prior that fits the golden files: codebooks of 1024 codes. */

/** @typedef {import("../../../assets/web/lamella/safetensors.js").Tensor} Tensor */

const [CODEBOOKS, SIZE, DIM, BASE, WIDE, NARROW, GROUPS, MEMBERS] = [12, 1024, 4, 2, 8, 4, 32, 32];

/**
 * @param {(limit: number) => number} random
 * @returns {Record<string, Tensor>}
 */
export function smallPrior(random) {
  const kinds = { I8: Int8Array, I16: Int16Array, I32: Int32Array };
  const tensor = (
    /** @type {"I8" | "I16" | "I32"} */ dtype,
    /** @type {number[]} */ shape,
    /** @type {(place: number) => number} */ value,
  ) => {
    const count = shape.reduce((a, b) => a * b, 1);
    return { dtype, shape, data: kinds[dtype].from({ length: count }, (_, place) => value(place)) };
  };
  const spread = (/** @type {number} */ most) => () => random(2 * most + 1) - most;
  const context = 2 + 3 * BASE + 2 * DIM;
  return {
    codewords: tensor("I8", [CODEBOOKS, SIZE, DIM], spread(60)),
    order: tensor("I16", [CODEBOOKS, SIZE], (place) => (place * 5) % SIZE),
    prediction: tensor("I16", [BASE, BASE], spread(3000)),
    base_codebooks: tensor("I32", [], () => 2),
    restart_frames: tensor("I32", [], () => 5),
    "hidden1.kernel": tensor("I16", [CODEBOOKS, context, WIDE], spread(300)),
    "hidden1.bias": tensor("I32", [CODEBOOKS, WIDE], spread(90_000)),
    "hidden1.shift": tensor("I32", [CODEBOOKS], () => 8),
    "hidden2.kernel": tensor("I16", [CODEBOOKS, WIDE, NARROW], spread(300)),
    "hidden2.bias": tensor("I32", [CODEBOOKS, NARROW], spread(90_000)),
    "hidden2.shift": tensor("I32", [CODEBOOKS], () => 8),
    "group.kernel": tensor("I8", [CODEBOOKS, NARROW, GROUPS], spread(40)),
    "group.bias": tensor("I32", [CODEBOOKS, GROUPS], spread(9000)),
    "group.shift": tensor("I32", [CODEBOOKS], () => 3),
    "place.kernel": tensor("I8", [CODEBOOKS, GROUPS, NARROW, MEMBERS], spread(40)),
    "place.bias": tensor("I32", [CODEBOOKS, GROUPS, MEMBERS], spread(9000)),
    "place.shift": tensor("I32", [CODEBOOKS], () => 3),
  };
}
