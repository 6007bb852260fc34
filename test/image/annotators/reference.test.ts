/**
 * Annotators, the ways to size a map and skeletons against maps that OpenCV 5, controlnet_aux and the A1111 extension made.
 * fixtures/annotators is a part of a larger set; `npm run check -- DIR` reads any folder of its form.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { check as maps } from "../../../check/annotators.ts";
import { check as poses } from "../../../check/poses.ts";

const FOLDER = join(import.meta.dirname, "../../fixtures/annotators");

for (const { subject, error, bound } of [...(await maps(FOLDER)), ...(await poses(FOLDER))])
  test(`${subject}: at most ${(100 * bound).toFixed(1)} % of the values differ from the reference`, (t) => {
    t.diagnostic(`${(100 * error).toFixed(3)} % differ`);
    assert.ok(error <= bound, `${error}`);
  });
