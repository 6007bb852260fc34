/** Annotators on tiny networks with the signatures of the published ones, against what transformers, controlnet_aux and others make. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { check } from "../../check/annotator-networks.ts";

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
