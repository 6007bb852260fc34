import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { onSpan, span } from "../../../src/observe/span.ts";
import { StageTimes } from "../../../workers/generate/stage-times.ts";

test("a stage's time is its own: loading amid it, however deep, counts as loading alone", async (t) => {
  const times = new StageTimes();
  t.after(onSpan((ended) => times.add(ended)));
  const load = (ms: number) => span("load", {}, () => sleep(ms));
  await load(20); // before any stage
  await span("encode", {}, () => load(30));
  await span("denoise", {}, async () => {
    await span("step", { step: 1 }, () => load(40));
    await span("step", { step: 2 }, () => sleep(50));
  });
  const { load: loading, encode, denoise, decode } = times.ms;
  assert.ok(loading >= 88, `load: ${loading} ms`);
  assert.ok(encode >= -0.001 && encode < 25, `encode: ${encode} ms`);
  assert.ok(denoise >= 48 && denoise < 85, `denoise: ${denoise} ms`);
  assert.equal(decode, 0);
});
