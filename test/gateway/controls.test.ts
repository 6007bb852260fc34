/** Control images that the service makes itself: of a photo by an annotator, or of key points. */
import assert from "node:assert/strict";
import { readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import sharp from "sharp";
import type { Generation } from "../../src/schema/generation.ts";
import { startGateway } from "../support/gateway.ts";
import { temporaryFolder } from "../support/processes.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures");

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const MODELS_DIR = await temporaryFolder(stack);
for (const name of ["base", "controlnets"]) symlinkSync(join(FIXTURES, "sd15", name), join(MODELS_DIR, name));
symlinkSync(join(FIXTURES, "annotators/neural"), join(MODELS_DIR, "annotators"));
const { http, config, work } = await startGateway(stack, { MODELS_DIR, MAX_PIXELS: "300000" });
await work();

const uri = (bytes: Uint8Array) => `data:image/png;base64,${Buffer.from(bytes).toString("base64")}`;
const read = (name: string) => readFileSync(join(FIXTURES, `annotators/pictures/${name}.png`));
const bytesOf = async (url: string) => (await http.get(url.slice(config.PUBLIC_URL.length))).body as Buffer;
const post = (body: object) =>
  http
    .post("/v1/generations")
    .set("Prefer", "wait=60")
    .send({ prompt: "x", width: 64, height: 64, num_inference_steps: 1, scheduler: "ddim", seed: 1, ...body });

async function made(body: object): Promise<Generation> {
  const { status, body: generation } = await post(body);
  assert.equal(status, 200, JSON.stringify(generation));
  assert.equal(generation.status, "succeeded", JSON.stringify(generation.error));
  return generation;
}
const pictureOf = (generation: Generation) => generation.images.map(({ sha256 }) => sha256);
const control = (fields: object) => ({ controls: [{ controlnet: "canny", ...fields }] });
async function mapOf(body: object): Promise<Buffer> {
  const answer = await http.post("/v1/annotations").set("Accept", "image/png").send(body);
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
}

const photo = uri(await sharp(read("building")).resize(64, 64, { fit: "fill" }).png().toBuffer());

for (const annotator of ["canny", { name: "blur", params: { sigma: 2 } }, "softedge_hed"])
  test(`a photo with the annotator ${JSON.stringify(annotator)} gives the picture of the ready map, byte for byte`, async () => {
    const ready = await made(control({ image: uri(await mapOf({ annotator, image: photo })) }));
    const annotated = await made(control({ image: photo, annotator }));
    assert.deepEqual(pictureOf(annotated), pictureOf(ready));
    assert.notDeepEqual(pictureOf(annotated), pictureOf(await made(control({ image: photo }))));
    assert.ok(annotated.metrics.annotate_ms! > 0);
    assert.deepEqual(
      [annotated, ready].map(({ controls }) => controls.length),
      [1, 0],
      "of a ready map none is made",
    );
  });

for (const resize_mode of ["stretch", "crop", "fill"])
  test(`of a photo of another size, ${resize_mode}, the map that is shown makes the same picture`, async () => {
    const annotated = await made(control({ image: uri(read("rocket")), annotator: "canny", resize_mode }));
    const [shown] = annotated.controls;
    assert.deepEqual([shown!.control, shown!.picture, shown!.width, shown!.height], [0, null, 64, 64]);
    const map = await bytesOf(shown!.url);
    const levels = new Set((await sharp(map).raw().toBuffer()).values());
    assert.deepEqual([...levels].sort(), [0, 255], "black and white stays so");
    assert.deepEqual(pictureOf(await made(control({ image: uri(map) }))), pictureOf(annotated));
  });

test("one map serves all pictures; a list of images has one for each", async () => {
  const one = await made({ num_images: 2, ...control({ image: photo, annotator: "canny" }) });
  assert.equal(one.controls.length, 1);
  const other = uri(await sharp(read("rocket")).resize(64, 64, { fit: "fill" }).png().toBuffer());
  const two = await made({ num_images: 2, ...control({ image: [photo, other], annotator: "canny" }) });
  assert.deepEqual(
    two.controls.map(({ picture, url }) => [picture, url.split("?")[1]]),
    [
      [0, "picture=0"],
      [1, "picture=1"],
    ],
  );
  const maps = await Promise.all(two.controls.map(({ url }) => bytesOf(url)));
  assert.deepEqual(maps[0], await bytesOf(one.controls[0]!.url));
  assert.notDeepEqual(maps[0], maps[1]);
  assert.equal(pictureOf(two)[0], pictureOf(one)[0]);
  assert.equal((await http.get(`/v1/generations/${two.id}/controls/1`)).status, 404);
  assert.equal((await http.get(`/v1/generations/${two.id}/controls/0?picture=2`)).status, 404);
  // A query to get past a cache is none of its business, a slip of the parameter's name is.
  const second = new URL(two.controls[1]!.url);
  second.searchParams.set("reload", "yes");
  assert.deepEqual(await bytesOf(second.href), maps[1]);
  assert.equal((await http.get(`/v1/generations/${two.id}/controls/0?pictures=1`)).status, 400);
});

test("key points make the picture of their map", async () => {
  const { pose } = JSON.parse(readFileSync(join(FIXTURES, "annotators/pose.json"), "utf8")).cases[0];
  const square = { ...pose, canvas_width: 64, canvas_height: 64 };
  const drawn = await made(control({ pose: square }));
  assert.equal(drawn.request.controls[0]!.annotator!.name, "openpose_render");
  const map = await mapOf({ annotator: "openpose_render", pose: square });
  assert.deepEqual(await bytesOf(drawn.controls[0]!.url), map);
  assert.deepEqual(pictureOf(await made(control({ image: uri(map) }))), pictureOf(drawn));
});

test("an inpainting ControlNet is shown the request's image, -1 where it is painted anew", async () => {
  const white = uri(
    await sharp({ create: { width: 64, height: 64, channels: 3, background: "#fff" } })
      .png()
      .toBuffer(),
  );
  const black = uri(
    await sharp({ create: { width: 64, height: 64, channels: 3, background: "#000" } })
      .png()
      .toBuffer(),
  );
  const source = { image: photo, mask_image: white, strength: 1 };
  const masked = await made({ ...source, ...control({ annotator: "inpaint" }) });
  assert.equal(masked.controls.length, 0, "no picture can show it");
  const shown = await made({ ...source, ...control({ image: black }) });
  assert.notDeepEqual(pictureOf(masked), pictureOf(shown), "-1 is not black");
});

test("a map that looks wrong for its ControlNet is warned of, and the picture is made", async () => {
  const lines = await mapOf({ annotator: "canny", image: photo });
  const negative = uri(await sharp(lines).negate().png().toBuffer());
  const { warnings } = await made(control({ image: negative }));
  assert.match(warnings.join("\n"), /controls\[0\]: the map for "canny" is more light than dark.*invert/);
  assert.match((await made(control({ image: photo }))).warnings.join("\n"), /canny" has/);
  assert.deepEqual((await made(control({ image: photo, annotator: "canny" }))).warnings, []);
});

const pose = { people: [], canvas_width: 64, canvas_height: 64 };
const refusals: [what: string, fields: object, status: number, path: string, message: RegExp][] = [
  ["no image", { annotator: "canny" }, 400, "controls[0].image", /required/],
  ["an image and a pose", { image: photo, pose }, 400, "controls[0].pose", /together/],
  ["a pose for edges", { pose, annotator: "canny" }, 400, "controls[0].annotator", /not of a pose/],
  [
    "a bad pose",
    { pose: { ...pose, people: [{ pose_keypoints_2d: [1, 2] }] } },
    400,
    "controls[0].pose.people[0].pose_keypoints_2d",
    /18 or 25/,
  ],
  [
    "an unknown parameter",
    { image: photo, annotator: { name: "canny", params: { low: 1 } } },
    400,
    "controls[0].annotator.params.low",
    /unknown field "low"/,
  ],
  ["inpaint without what it reads", { annotator: "inpaint" }, 400, "controls[0].annotator", /mask_image/],
  ["a missing network", { image: photo, annotator: "softedge_teed" }, 422, "controls[0].annotator", /published/],
];
for (const [what, fields, status, path, message] of refusals)
  test(`${what} is refused`, async () => {
    const answer = await post(control(fields));
    assert.deepEqual([answer.status, answer.body.errors?.[0]?.path], [status, path], answer.text);
    assert.match(answer.body.errors[0].message, message);
  });

test("a picture that is too large for its annotator is refused with the numbers", async () => {
  const large = uri(
    await sharp({ create: { width: 1300, height: 1000, channels: 3, background: "#888" } })
      .png()
      .toBuffer(),
  );
  const answer = await post(control({ image: large, annotator: "canny" }));
  assert.deepEqual([answer.status, answer.body.errors[0].path], [422, "controls[0].image"]);
  assert.match(answer.body.detail, /1300×1000.*1200000 at most/);
});

test("a picture that its annotator cannot read fails the generation with the reason", async () => {
  const strip = uri(
    await sharp({ create: { width: 3000, height: 2, channels: 3, background: "#888" } })
      .png()
      .toBuffer(),
  );
  const annotator = { name: "canny", params: { detect_resolution: 2048 } };
  const { body } = await post(control({ image: strip, annotator }));
  assert.equal(body.error.code, "too_many_pixels");
  assert.match(body.error.message, /^controls\[0\]: .*becomes/);
});
