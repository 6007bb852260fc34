import assert from "node:assert/strict";
import { test } from "node:test";
import { adamw, clipNorm, moveAverage } from "../../src/training/adamw.ts";
import { learningRate } from "../../src/training/learning-rate.ts";

test("a gradient longer than the limit is cut to it, a shorter one stays", () => {
  const long = Float32Array.of(3, 4);
  assert.equal(clipNorm(long, 1), 5);
  assert.ok(Math.abs(Math.hypot(...long) - 1) < 1e-5);
  const short = Float32Array.of(0.3, 0.4);
  clipNorm(short, 1);
  assert.deepEqual(short, Float32Array.of(0.3, 0.4));
});

test("AdamW's decay shrinks a parameter that has no gradient, apart from the moments", () => {
  const parameters = Float32Array.of(2);
  const moments = { first: new Float32Array(1), second: new Float32Array(1) };
  adamw(parameters, new Float32Array(1), moments, 1, { learning_rate: 0.1, adam_weight_decay: 0.5 });
  assert.ok(Math.abs(parameters[0]! - 1.9) < 1e-6);
  assert.deepEqual(moments, { first: new Float32Array(1), second: new Float32Array(1) });
});

test("AdamW's first step moves by the learning rate, whatever the gradient's size", () => {
  for (const size of [1e-3, 1, 1e3]) {
    const parameters = Float32Array.of(1);
    const moments = { first: new Float32Array(1), second: new Float32Array(1) };
    adamw(parameters, Float32Array.of(size), moments, 1, { learning_rate: 0.1, adam_weight_decay: 0 });
    assert.ok(Math.abs(parameters[0]! - 0.9) < 1e-5, `${parameters[0]}`);
  }
});

test("the average goes a share of the way to the parameters", () => {
  const average = Float32Array.of(1);
  moveAverage(average, Float32Array.of(3), 0.75);
  assert.equal(average[0], 1.5);
});

test("the learning rate rises from 0 over the warm-up, then holds or falls along a cosine", () => {
  const settings = { learning_rate: 1, lr_warmup_steps: 4, max_train_steps: 14 };
  const rates = (lr_scheduler: "constant" | "cosine") =>
    [1, 3, 5, 10, 14].map((step) => learningRate(step, { ...settings, lr_scheduler }).toFixed(4));
  // diffusers' get_scheduler: num_warmup_steps=4, num_training_steps=14
  assert.deepEqual(rates("constant"), ["0.0000", "0.5000", "1.0000", "1.0000", "1.0000"]);
  assert.deepEqual(rates("cosine"), ["0.0000", "0.5000", "1.0000", "0.5000", "0.0245"]);
});
