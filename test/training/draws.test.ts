import assert from "node:assert/strict";
import { test } from "node:test";
import { Draws, order } from "../../src/training/draws.ts";

const settings = { seed: 7, train_batch_size: 4, proportion_empty_prompts: 0.5, random_flip: true };

test("every epoch shows each pair once, in an order of its own", () => {
  const [first, second] = [order(7, 0, 100), order(7, 1, 100)];
  const all = Array.from({ length: 100 }, (_, i) => i);
  for (const epoch of [first, second]) {
    assert.deepEqual(
      [...epoch].sort((a, b) => a - b),
      all,
    );
  }
  assert.notDeepEqual(first, second);
  assert.notDeepEqual(first, order(8, 0, 100), "the seed decides");
});

test("a batch is the same whether the batches before it were drawn or not", () => {
  const whole = new Draws(settings, 10);
  const batches = Array.from({ length: 6 }, (_, i) => whole.batch(i));
  const resumed = new Draws(settings, 10);
  for (const index of [4, 5]) {
    const { rows, noise } = resumed.batch(index);
    assert.deepEqual(rows, batches[index]!.rows);
    assert.deepEqual(noise.normal(32), batches[index]!.noise.normal(32));
  }
});

test("about the asked share of prompts is left empty, and half of the pairs is mirrored", () => {
  const draws = new Draws({ ...settings, proportion_empty_prompts: 0.3 }, 10);
  const rows = Array.from({ length: 500 }, (_, i) => draws.batch(i).rows).flat();
  const share = (what: "emptyPrompt" | "flipped") => rows.filter((row) => row[what]).length / rows.length;
  assert.ok(Math.abs(share("emptyPrompt") - 0.3) < 0.03, `${share("emptyPrompt")}`);
  assert.ok(Math.abs(share("flipped") - 0.5) < 0.03, `${share("flipped")}`);
  const plain = new Draws({ ...settings, random_flip: false, proportion_empty_prompts: 0 }, 10).batch(0);
  assert.ok(plain.rows.every(({ emptyPrompt, flipped }) => !emptyPrompt && !flipped));
});
