/** What is said of fields that other programs have: the right one of ours, or nothing. Never another. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { z } from "zod";
import { type FieldNames, GENERATION_NAMES, TRAINING_NAMES } from "../../src/schema/field-names.ts";
import { GenerationInput } from "../../src/schema/generation-request.ts";
import { TrainingInput } from "../../src/schema/training-request.ts";

const TRAINING = { base: "x", name: "y", dataset: "upload:upl_1", max_train_steps: 1 };
const CONTROL = { controlnet: "canny", image: "upload:upl_1" };

/** What is said of a field of an object of a request; undefined when it is known. */
function said(name: string, home = ""): string | undefined {
  const body = home === "controls" ? { prompt: "", controls: [{ ...CONTROL, [name]: 0 }] } : { prompt: "", [name]: 0 };
  const schema = home === "training" ? TrainingInput : GenerationInput;
  const { issues = [] } = schema.safeParse(home === "training" ? { ...TRAINING, [name]: 0 } : body).error ?? {};
  return issues.find((issue) => issue.code === "unrecognized_keys")?.message;
}

/** What other systems' requests have, and what is said of it here: "=" = it is the same; null = nothing means it here, so nothing is said. */
interface Peer {
  peer: string;
  /** The object of ours that theirs would be. */
  home: "" | "controls" | "training";
  fields: Record<string, string | null>;
}
const PEERS = JSON.parse(readFileSync(join(import.meta.dirname, "../fixtures/peer-fields.json"), "utf8")) as Peer[];

for (const { peer, home, fields } of PEERS) {
  test(`${peer}: each of ${Object.keys(fields).length} fields is known, answered with ours, or with none`, () => {
    const wrong = Object.entries(fields).flatMap(([name, ours]) => {
      const here = ours === null ? "" : `, here it is ${ours}`;
      const wanted = ours === "=" ? undefined : `unknown field "${name}"${here}`;
      return said(name, home) === wanted ? [] : [`${name}: ${said(name, home)}`];
    });
    assert.deepEqual(wrong, []);
  });
}

test("a slip of the fingers is answered with the nearest, what is only a little like a field with none", () => {
  for (const [name, nearest] of [
    ["guidance_scal", "guidance_scale"],
    ["widht", "width"],
    ["seeed", "seed"],
    ["num_infernce_stesp", null],
    ["num_inferense_step", "num_inference_steps"],
  ] as const) {
    assert.equal(
      said(name),
      `unknown field "${name}"${nearest === null ? "" : `, the nearest known one is "${nearest}"`}`,
    );
  }
});

test("every field that the tables of names tell of is there", () => {
  const fieldAt = (schema: z.ZodType, path: string): unknown =>
    path.split(".").reduce((at: unknown, part) => {
      const def = (inner: unknown) => (inner as { _zod?: { def: Record<string, unknown> } } | undefined)?._zod?.def;
      let object = def(at);
      while (object !== undefined && object.type !== "object") object = def(object.innerType ?? object.element);
      return (object?.shape as Record<string, unknown> | undefined)?.[part.replace("[]", "")];
    }, schema);
  const tables: [z.ZodType, FieldNames][] = [
    [GenerationInput, GENERATION_NAMES],
    [TrainingInput, TRAINING_NAMES],
  ];
  for (const [schema, names] of tables) {
    for (const path of Object.keys(names)) assert.ok(fieldAt(schema, path), path);
  }
});
