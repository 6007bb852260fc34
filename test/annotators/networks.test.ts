/** Annotators on tiny networks with the signatures of the published ones, against what transformers, controlnet_aux and others make. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { check } from "../../check/annotator-networks.ts";
import { infer } from "../../src/annotators/network.ts";

test("maps, lines and key points are those of the packages that ControlNets were trained with", async (t) => {
  const findings = await check(join(import.meta.dirname, "../fixtures/annotators"));
  for (const { subject, error, bound } of findings) {
    t.diagnostic(`${subject}: ${error.toExponential(1)} (${bound.toExponential(1)})`);
  }
  assert.deepEqual(
    findings.filter(({ error, bound }) => !(error <= bound)),
    [],
  );
  const folders = new Set(findings.map(({ subject }) => subject.split(" ")[0]));
  assert.deepEqual([...folders].sort(), ["dpt", "dwpose", "hed", "lineart", "mlsd", "pidinet", "segformer", "vitpose"]);
});

test("a size that a network cannot run on is told with what helps", async () => {
  const value = { name: "x", dtype: "float32", shape: [1, 3, "h", "w"] };
  const run = () => Promise.reject(new Error("Non-zero status code returned while running Concat node."));
  const feed = { dims: [1, 3, 71, 90], data: new Float32Array(3 * 71 * 90) };
  await assert.rejects(infer({ inputs: [value], outputs: [], run }, feed), /\[1,3,71,90\].*detect_resolution/);
});
