import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { check } from "../../check/training.ts";

test("a ControlNet's loss, its gradients and six optimiser steps are torch's", async () => {
  const findings = await check(join(import.meta.dirname, "../fixtures/sd15"));
  assert.ok(findings.length >= 4);
  for (const { subject, error, bound } of findings) {
    assert.ok(error <= bound, `${subject}: ${error} exceeds ${bound}`);
  }
});
