/** What a model's files leave open: told to each request that does not settle it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assumedFor } from "../../src/diffusion/own-scheduler.ts";

const SD = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: "scaled_linear", steps_offset: 1 };

test("a scheduler in place of one that is not there", () => {
  const model = { scheduler: { ...SD, _class_name: "DPMSolverSDEScheduler" }, assumed: null };
  const told = assumedFor(model, { scheduler: "dpmpp_sde", prediction_type: null });
  assert.match(told.join(), /_class_name "DPMSolverSDEScheduler".*"dpmpp_sde" is the default instead/);
  assert.deepEqual(assumedFor(model, { scheduler: "euler", prediction_type: null }), []);
});

test("what was assumed of the prediction, where the request does not say it", () => {
  const model = { scheduler: { ...SD, _class_name: "DDIMScheduler" }, assumed: "taken for v" };
  assert.deepEqual(assumedFor(model, { scheduler: "ddim", prediction_type: null }), ["taken for v"]);
  assert.deepEqual(assumedFor(model, { scheduler: "ddim", prediction_type: "epsilon" }), []);
});
