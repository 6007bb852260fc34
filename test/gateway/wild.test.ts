/** Over HTTP: what MODELS_DIR holds that is served, by its short name too, and what a client is told of the rest. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { decodeImage } from "../../src/image/decode.ts";
import { startGateway } from "../support/gateway.ts";
import { makePix2pix } from "../support/pix2pix.ts";
import { temporaryFolder } from "../support/processes.ts";
import { readRaw, writeRaw } from "../support/rewrite.ts";
import { decibels, readRequest } from "../support/served.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures");
const CANNY = join(FIXTURES, "sd15/cases/canny");

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const MODELS_DIR = await temporaryFolder(stack);
symlinkSync(join(FIXTURES, "sd15/base"), join(MODELS_DIR, "base"));
makePix2pix(join(MODELS_DIR, "edits"), "sd15", { _class_name: "StableDiffusionInstructPix2PixPipeline" });
const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 3438167540\n";
writeFileSync(join(MODELS_DIR, "lost.safetensors"), pointer);
mkdirSync(join(MODELS_DIR, "controlnets/someone"), { recursive: true });
symlinkSync(join(FIXTURES, "sd15/controlnets/canny"), join(MODELS_DIR, "controlnets/someone/canny"));
const adapter = { dtype: "F16", shape: [1], bytes: new Uint8Array(2) };
writeRaw(join(MODELS_DIR, "controlnets/t2i.safetensors"), new Map([["body.0.in_conv.weight", adapter]]));

const { http, config, work } = await startGateway(stack, { MODELS_DIR });
await work();

const post = (body: object) => http.post("/v1/generations").set("Prefer", "wait=60").send(body);
async function refused(body: object) {
  const { status, body: problem } = await post(body);
  return [status, problem.code, problem.errors?.[0]?.path, problem.detail] as const;
}

const request = { ...readRequest(CANNY), model: "base" };
const [control] = readRequest(CANNY).controls as [object];

test("a ControlNet in a sub-folder goes by its own name, and makes diffusers' picture", async (t) => {
  const { status, body } = await post({ ...request, controls: [{ ...control, controlnet: "canny" }] });
  assert.equal(status, 200, JSON.stringify(body));
  assert.equal(body.request.controls[0].controlnet, "someone/canny");
  const bytes = (await http.get(body.images[0].url.slice(config.PUBLIC_URL.length))).body as Buffer;
  const { bytes: expected } = readRaw(join(CANNY, "expected.safetensors")).get("images")!;
  const { data } = await decodeImage(bytes, { maxPixels: 2 ** 20 });
  const found = decibels(data, new Float32Array(new Uint8Array(expected).buffer));
  t.diagnostic(`${found.toFixed(1)} dB`);
  assert.ok(found >= 57, `${found} dB`);
});

test("what is not served is listed with the reason, and a request for it is refused with that", async () => {
  const { body: models } = await http.get("/v1/models");
  assert.deepEqual(
    models.unavailable.map(({ id }: { id: string }) => id),
    ["lost"],
  );
  assert.match(models.unavailable[0].reason, /git-lfs pointer/);
  const lost = await refused({ ...request, model: "lost", controls: [] });
  assert.deepEqual(lost.slice(0, 3), [422, "unavailable", "model"]);
  assert.match(lost[3], /"lost" cannot be served: .*git-lfs pointer/);
  const t2i = await refused({ ...request, controls: [{ ...control, controlnet: "t2i" }] });
  assert.deepEqual(t2i.slice(0, 3), [422, "unavailable", "controls[0].controlnet"]);
  assert.match(t2i[3], /"t2i" cannot be served: a T2I-Adapter/);
  const { body: ready } = await http.get("/ready");
  assert.equal(ready.unavailable, 2, JSON.stringify(ready));
});

test("a model that edits by instructions says so, needs an image, and answers with its image_guidance_scale", async () => {
  const { body: model } = await http.get("/v1/models/edits");
  assert.deepEqual([model.instruct_pix2pix, model.inpainting, model.trainable], [true, false, false]);
  const asked = { prompt: "make it snow", model: "edits", num_inference_steps: 2, width: 64, height: 64, seed: 1 };
  assert.deepEqual((await refused(asked)).slice(0, 3), [422, "field_missing", "image"]);
  const image = `data:image/png;base64,${readFileSync(join(FIXTURES, "sd15/cases/inpaint/image.png")).toString("base64")}`;
  assert.deepEqual((await refused({ ...asked, image, strength: 0.5 }))[2], "strength");
  assert.equal((await refused({ ...asked, image, image_guidance_scale: 0.5 }))[0], 400);
  const { status, body } = await post({ ...asked, image });
  assert.equal(status, 200, JSON.stringify(body));
  assert.deepEqual([body.request.image_guidance_scale, body.request.strength], [1.5, null]);
});
