/** Maps of pictures, over HTTP: the reference maps, what is refused, and a job's life. */
import assert from "node:assert/strict";
import { readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import sharp from "sharp";
import { decodeImage } from "../../src/image/decode.ts";
import type { Annotation } from "../../src/schema/annotation.ts";
import type { AnnotatorEntry } from "../../src/schema/annotator-entry.ts";
import { ANNOTATORS } from "../../src/schema/annotators.ts";
import { startGateway } from "../support/gateway.ts";
import { temporaryFolder } from "../support/processes.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures");
const REFERENCES = join(FIXTURES, "annotators");

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

/** The tiny model and ControlNets, and the networks of annotators. */
const MODELS_DIR = await temporaryFolder(stack);
for (const name of ["base", "controlnets"]) symlinkSync(join(FIXTURES, "sd15", name), join(MODELS_DIR, name));
symlinkSync(join(REFERENCES, "neural"), join(MODELS_DIR, "annotators"));
const { http, config, work } = await startGateway(stack, { MODELS_DIR, MAX_PIXELS: "200000" });
await work();

const uri = (bytes: Uint8Array) => `data:image/png;base64,${Buffer.from(bytes).toString("base64")}`;
const picture = (name: string) => uri(readFileSync(join(REFERENCES, `pictures/${name}.png`)));
const post = (body: object, wait = 60) => http.post("/v1/annotations").set("Prefer", `wait=${wait}`).send(body);
const bytesOf = async (url: string) => (await http.get(url.slice(config.PUBLIC_URL.length))).body as Buffer;
const pixelsOf = async (bytes: Uint8Array) => decodeImage(bytes, { maxPixels: 1e7 });

async function annotated(body: object): Promise<Annotation> {
  const { status, body: made } = await post(body);
  assert.equal(status, 200, JSON.stringify(made));
  assert.equal(made.status, "succeeded", JSON.stringify(made.error));
  return made;
}

interface Case {
  annotator: string;
  folder?: string;
  picture: string;
  params: Record<string, unknown>;
  map?: string;
  tolerance?: { levels?: number; share?: number };
}
const casesOf = (file: string): Case[] => JSON.parse(readFileSync(join(REFERENCES, file), "utf8")).cases;

/** The share of a map's values that are off by more than the tolerance's levels. */
async function offShare(made: Annotation, { map, tolerance: { levels = 0 } = {} }: Case): Promise<number> {
  const [own, wanted] = [
    await pixelsOf(await bytesOf(made.images[0]!.url)),
    await pixelsOf(readFileSync(join(REFERENCES, map!))),
  ];
  assert.deepEqual([own.width, own.height], [wanted.width, wanted.height]);
  return wanted.data.filter((value, i) => Math.abs(value - own.data[i]!) > levels).length / wanted.data.length;
}

describe("reference maps", () => {
  const references = Object.keys(ANNOTATORS).flatMap((name) => {
    const own = casesOf("cases.json").filter(
      ({ annotator, picture: file, map }) => annotator === name && map !== undefined && !file.includes("."),
    );
    return own.slice(-2); // each one's arithmetic is held to all of them elsewhere
  });
  for (const one of [...references, ...casesOf("neural.json").filter(({ map }) => map !== undefined)])
    test(`${one.annotator} of ${one.picture} ${JSON.stringify(one.params)}`, async (t) => {
      const { noise: _, ...params } = one.params;
      const made = await annotated({ annotator: one.annotator, params, image: picture(one.picture) });
      const off = await offShare(made, one);
      t.diagnostic(`${(100 * off).toFixed(3)} % of the values are off by more than ${one.tolerance?.levels ?? 0}`);
      assert.ok(off <= 1 - (one.tolerance?.share ?? 1));
    });

  for (const one of JSON.parse(readFileSync(join(REFERENCES, "pose.json"), "utf8")).cases)
    if ("people" in (one.pose ?? {}))
      test(`the skeletons of ${one.map}`, async () => {
        const annotator = { name: "openpose_render", params: { style: one.variant } };
        assert.equal(await offShare(await annotated({ annotator, pose: one.pose }), one), 0);
      });
});

describe("an annotation", () => {
  test("is echoed with every default, and tells its time", async () => {
    const made = await annotated({ annotator: "canny", image: picture("grey"), metadata: { mine: 1 } });
    assert.deepEqual(made.request.annotator, {
      name: "canny",
      params: {
        low_threshold: 100,
        high_threshold: 200,
        detect_resolution: null,
        image_resolution: null,
        resolution: null,
      },
    });
    assert.match(made.id, /^ann_/);
    assert.deepEqual([made.progress, made.metadata], [{ step: 1, total: 1 }, { mine: 1 }]);
    assert.equal(made.metrics.load_ms, 0);
    assert.ok(made.metrics.annotate_ms! > 0);
  });

  test("takes parameters beside the name, within it, or both; and names of other programs", async () => {
    const image = picture("grey");
    const ways = [
      { annotator: "canny", params: { low_threshold: 50 } },
      { annotator: { name: "canny", params: { low_threshold: 50 } } },
      { annotator: { name: "canny", params: { low_threshold: 20 } }, params: { low_threshold: 50 } },
    ];
    const hashes = await Promise.all(ways.map(async (way) => (await annotated({ ...way, image })).images[0]!.sha256));
    assert.equal(new Set(hashes).size, 1);
    assert.equal((await annotated({ annotator: "tile_resample", image })).request.annotator.name, "tile");
  });

  test("is the map itself to whoever accepts pictures", async () => {
    const body = { annotator: "invert", image: picture("rocket") };
    const answer = await http.post("/v1/annotations").set("Accept", "image/png").send(body);
    assert.deepEqual([answer.status, answer.type], [200, "image/png"]);
    assert.deepEqual(answer.body, await bytesOf((await annotated(body)).images[0]!.url));
    const none = await http
      .post("/v1/annotations")
      .set("Accept", "image/png")
      .send({ ...body, annotator: "color_grid", params: { resolution: 64 }, image: picture("pixel") });
    assert.equal(none.status, 200, "a pixel is enlarged");
  });

  test("is listed, streams its events, and is deleted with its map", async () => {
    const { id, images } = await annotated({ annotator: "invert", image: picture("grey") });
    const list = (await http.get("/v1/annotations?status=succeeded")).body;
    assert.equal(list.data[0].id, id);
    const events = (await http.get(`/v1/annotations/${id}/events`)).text;
    assert.deepEqual(
      [...events.matchAll(/^event: (\w+)$/gm)].map(([, name]) => name),
      ["queued", "started", "progress", "succeeded"],
    );
    assert.equal((await http.post(`/v1/annotations/${id}/cancel`)).status, 409);
    assert.equal((await http.delete(`/v1/annotations/${id}`)).status, 204);
    assert.equal((await http.get(images[0]!.url.slice(config.PUBLIC_URL.length))).status, 404);
    assert.equal((await http.get(`/v1/generations/${id}`)).status, 404);
  });

  test("is canceled while its map is made", async () => {
    const noise = await sharp({
      create: {
        width: 800,
        height: 800,
        channels: 3,
        background: "#888",
        noise: { type: "gaussian", mean: 128, sigma: 90 },
      },
    })
      .png()
      .toBuffer();
    const params = {
      threshold: 1,
      min_line_length: 0,
      max_line_gap: 10_000,
      rho: 0.5,
      theta_degrees: 0.25,
      low_threshold: 0,
      high_threshold: 1,
    };
    const { id } = (await http.post("/v1/annotations").send({ annotator: "hough_lines", params, image: uri(noise) }))
      .body;
    const canceled = await http.post(`/v1/annotations/${id}/cancel`);
    assert.ok([202, 409].includes(canceled.status));
    assert.ok(["canceled", "processing"].includes(canceled.body.status) || canceled.status === 409);
    // The next one does not wait for what was stopped.
    await annotated({ annotator: "invert", image: picture("pixel") });
  });

  test("of people gives their key points, which draw the same map", async () => {
    const found = await annotated({ annotator: "openpose_full", image: picture("exif6") });
    assert.ok(found.pose!.people.length > 0);
    const drawn = await annotated({ annotator: "openpose_render", pose: found.pose });
    assert.equal(drawn.images[0]!.sha256, found.images[0]!.sha256);
  });

  test("for inpainting shows what is masked in black, and says so", async () => {
    const body = { annotator: "inpaint", image: picture("masked_coffee"), mask_image: picture("mask_coffee") };
    const { images, warnings } = await annotated(body);
    const { data } = await pixelsOf(await bytesOf(images[0]!.url));
    const mask = await pixelsOf(readFileSync(join(REFERENCES, "pictures/mask_coffee.png")));
    assert.ok(mask.data.every((value, i) => value <= 127 || data[i] === 0));
    assert.match(warnings[0]!, /black/);
  });
});

describe("what cannot be made is refused", () => {
  const refusals: [what: string, body: object, status: number, path: string, message: RegExp][] = [
    [
      "an annotator that there is not",
      { annotator: "cany", image: picture("pixel") },
      400,
      "annotator",
      /nearest known one is "canny"/,
    ],
    [
      "an annotator of another program's that is not here, with what makes such maps",
      { annotator: { name: "depth_zoe" }, image: picture("pixel") },
      400,
      "annotator",
      /no annotator "depth_zoe": "depth"/,
    ],
    [
      "sizes of two programs at once",
      { annotator: "canny", params: { resolution: 64, detect_resolution: 64 }, image: picture("pixel") },
      400,
      "params.resolution",
      /cannot go with detect_resolution/,
    ],
    [
      "sizes of two programs, one within the annotator",
      {
        annotator: { name: "canny", params: { resolution: 64 } },
        params: { detect_resolution: 64 },
        image: picture("pixel"),
      },
      400,
      "params.resolution",
      /cannot go with detect_resolution/,
    ],
    [
      "a parameter that there is not",
      { annotator: "canny", params: { low: 1 }, image: picture("pixel") },
      400,
      "params",
      /unknown field "low"/,
    ],
    [
      "a parameter out of range",
      { annotator: { name: "blur", params: { sigma: 0 } }, image: picture("pixel") },
      400,
      "annotator.params.sigma",
      /0\.01/,
    ],
    ["no image", { annotator: "canny" }, 400, "image", /required/],
    ["no mask", { annotator: "inpaint", image: picture("pixel") }, 400, "mask_image", /required/],
    [
      "a mask that is not read",
      { annotator: "canny", image: picture("pixel"), mask_image: picture("pixel") },
      400,
      "mask_image",
      /not read/,
    ],
    [
      "a pose without its canvas",
      { annotator: "openpose_render", pose: { people: [] } },
      400,
      "pose.canvas_width",
      /required/,
    ],
    [
      "a pose of 17 points",
      {
        annotator: "openpose_render",
        pose: { people: [{ pose_keypoints_2d: Array(51).fill(0) }], canvas_width: 9, canvas_height: 9 },
      },
      400,
      "pose.people[0].pose_keypoints_2d",
      /18 or 25/,
    ],
    [
      "a network that is not there",
      { annotator: "softedge_teed", image: picture("pixel") },
      422,
      "annotator",
      /not in MODELS_DIR\/annotators.*published.*TEED/,
    ],
    [
      "a folder that is not there",
      { annotator: { name: "depth", params: { network: "zoe" } }, image: picture("pixel") },
      422,
      "annotator.params.network",
      /no network "zoe".*dpt/,
    ],
    [
      "a folder that is of no use, with the reason",
      { annotator: "depth", params: { network: "tensors.safetensors" }, image: picture("pixel") },
      422,
      "params.network",
      /"tensors.safetensors" cannot be served: /,
    ],
  ];
  for (const [what, body, status, path, message] of refusals)
    test(what, async () => {
      const answer = await post(body, 0);
      assert.deepEqual([answer.status, answer.body.errors?.[0]?.path], [status, path], answer.text);
      assert.match(answer.body.errors[0].message, message);
    });

  test("a picture that is too large for its annotator, with the numbers", async () => {
    const large = uri(
      await sharp({ create: { width: 1000, height: 801, channels: 3, background: "#888" } })
        .png()
        .toBuffer(),
    );
    const refused = await post({ annotator: "canny", image: large });
    assert.deepEqual([refused.status, refused.body.code], [422, "too_many_pixels"]);
    assert.match(refused.body.detail, /1000×801.*800000 at most.*detect_resolution/);
    await annotated({ annotator: "canny", params: { detect_resolution: 256 }, image: large });
    const strip = uri(
      await sharp({ create: { width: 2000, height: 2, channels: 3, background: "#888" } })
        .png()
        .toBuffer(),
    );
    const long = (await post({ annotator: "canny", params: { detect_resolution: 256 }, image: strip })).body;
    assert.match(long.error.message, /detect_resolution 256, .* becomes 256000×256/);
    const asPicture = await http
      .post("/v1/annotations")
      .set("Accept", "image/png")
      .send({ annotator: "canny", params: { detect_resolution: 256 }, image: strip });
    assert.deepEqual([asPicture.status, asPicture.body.code], [422, "too_many_pixels"]);
  });
});

test("the list says of each annotator what it takes, whether it can be used and where its files are", async () => {
  const { data, unavailable } = (await http.get("/v1/annotators")).body as {
    data: AnnotatorEntry[];
    unavailable: unknown[];
  };
  const of = (id: string) => data.find((one) => one.id === id)!;
  assert.deepEqual(
    of("canny").parameters.map(({ name, default: preset, minimum, maximum }) => [name, preset, minimum, maximum]),
    [
      ["low_threshold", 100, 0, 2040],
      ["high_threshold", 200, 0, 2040],
      ["detect_resolution", null, 64, 2048],
      ["image_resolution", null, 64, 2048],
      ["resolution", null, 64, 2048],
    ],
  );
  assert.deepEqual([of("canny").controlnets, of("canny").available], [["canny"], true]);
  assert.equal(of("color_grid").parameters[0]!.default, null);
  assert.deepEqual([of("depth").networks, of("depth").available, of("depth").controlnets], [["dpt"], true, ["depth"]]);
  assert.deepEqual([of("softedge_teed").networks, of("softedge_teed").available], [[], false]);
  assert.match(of("softedge_teed").published[0]!, /TEED/);
  assert.ok(unavailable.length > 0, "what lies there and is no network");
});
