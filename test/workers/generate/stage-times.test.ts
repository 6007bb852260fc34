import assert from "node:assert/strict";
import { test } from "node:test";
import { onSpan, span } from "../../../src/observe/span.ts";
import { StageTimes } from "../../../workers/generate/stage-times.ts";

test("a stage's time is its own: loading amid it, however deep, counts as loading alone", async (t) => {
  let now = 1000;
  t.mock.method(performance, "now", () => now);
  const take = async (ms: number) => {
    now += ms;
  };
  const times = new StageTimes();
  t.after(onSpan((ended) => times.add(ended)));
  const load = (ms: number) => span("load", {}, () => take(ms));
  await load(20); // before any stage
  await span("encode", {}, () => load(30));
  await span("denoise", {}, async () => {
    await span("step", { step: 1 }, () => load(40));
    await span("step", { step: 2 }, () => take(50));
  });
  assert.deepEqual(times.ms, { load: 90, annotate: 0, encode: 0, denoise: 50, decode: 0 });
});
