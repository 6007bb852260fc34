import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { check } from "../../check/training.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures");

const families = [
  ["sd15", "a ControlNet's loss, its gradients and six optimizer steps are torch's", 4],
  ["sdxl", "an SDXL ControlNet's loss and all its gradients are torch's", 4],
] as const;

for (const [family, name, count] of families) {
  test(name, async (t) => {
    const findings = await check(join(FIXTURES, family));
    assert.equal(findings.length, count);
    for (const { subject, error, bound } of findings) {
      t.diagnostic(`${subject}: ${error.toExponential(2)}`);
      assert.ok(error <= bound, `${subject}: ${error} exceeds ${bound}`);
    }
  });
}
