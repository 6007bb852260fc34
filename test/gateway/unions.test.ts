/** What the entries of one ControlNet-Union must say. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { controlTypesOf } from "../../src/gateway/resolve-unions.ts";
import type { Catalog } from "../../src/schema/catalog.ts";

const catalog = {
  controlnets: [
    { id: "union", control_types: [["openpose", "pose"], ["depth"]] },
    { id: "canny", control_types: [] },
  ],
} as unknown as Catalog;

const control = (controlnet: string, fields: object = {}) =>
  ({ controlnet, control_type: null, control_mode: "balanced", layer_scales: null, ...fields }) as never;
const refused = (path: string, message: RegExp) => (error: Error) => {
  assert.equal((error as Error & { errors: { path: string }[] }).errors[0]!.path, path);
  assert.match(error.message, message);
  return true;
};

test("a type is named by its number or by one of its names, and carried out as the number", () => {
  const types = controlTypesOf(
    [control("union", { control_type: "Pose" }), control("canny"), control("union", { control_type: 1 })],
    catalog,
  );
  assert.deepEqual(types, [0, null, 1]);
});

test("a Union without a type, or with one that it lacks, is refused with those that it has", () => {
  const field = "controls[0].control_type";
  const lacking = (control_type: unknown) => () => controlTypesOf([control("union", { control_type })], catalog);
  assert.throws(lacking(null), refused(field, /is required.*0 openpose pose, 1 depth/));
  assert.throws(lacking(2), refused(field, /has no type 2; its types: 0 openpose pose, 1 depth/));
  assert.throws(lacking("tile"), refused(field, /has no type "tile"/));
});

test("a type is refused for a ControlNet that has none", () => {
  const plain = () => controlTypesOf([control("canny", { control_type: 3 })], catalog);
  assert.throws(plain, refused("controls[0].control_type", /is for a ControlNet-Union/));
});

test("entries of one Union share what holds for their one evaluation", () => {
  const apart = () =>
    controlTypesOf(
      [control("union", { control_type: 0 }), control("union", { control_type: 1, control_mode: "prompt" })],
      catalog,
    );
  assert.throws(apart, refused("controls[1].control_mode", /must be the same as in controls\[0\]/));
});
