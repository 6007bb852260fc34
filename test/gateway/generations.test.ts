import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { createParser, type EventSourceMessage } from "eventsource-parser";
import sharp from "sharp";
import type { Generation } from "../../src/schema/generation.ts";
import { SCHEDULERS } from "../../src/schema/schedulers.ts";
import { conforms } from "../support/conforms.ts";
import { CATALOG, startGateway } from "../support/gateway.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
  .png()
  .toBuffer();
const uri = (bytes: Buffer) => `data:image/png;base64,${bytes.toString("base64")}`;
const control = { controlnet: "canny", image: uri(png) };

describe("a request that cannot be taken is refused with what is wrong and what would be right", async () => {
  const gateway = await startGateway(stack, { MAX_IMAGE_BYTES: "5000", MAX_BODY_BYTES: "30000", MAX_PIXELS: "65536" });
  await gateway.offer(CATALOG);
  const noise = Buffer.alloc(6000);
  const truncated = png.subarray(0, png.length - 30);
  const cases: { name: string; body: object; status: number; code: string; path: string; says: RegExp }[] = [
    {
      name: "an unknown field names the nearest known one",
      body: { prompt: "x", guidance_scal: 7 },
      status: 400,
      code: "invalid_request",
      path: "guidance_scal",
      says: /"guidance_scale"/,
    },
    {
      name: "an unknown field of a control too",
      body: { prompt: "x", controls: [{ ...control, conditioning_scal: 1 }] },
      status: 400,
      code: "invalid_request",
      path: "controls[0].conditioning_scal",
      says: /"conditioning_scale"/,
    },
    {
      name: "a missing prompt",
      body: {},
      status: 400,
      code: "invalid_request",
      path: "prompt",
      says: /is required/,
    },
    {
      name: "a width that is no multiple of 8",
      body: { prompt: "x", width: 65 },
      status: 400,
      code: "invalid_request",
      path: "width",
      says: /multiple of 8/,
    },
    {
      name: "a scheduler that does not exist",
      body: { prompt: "x", scheduler: "eulr" },
      status: 400,
      code: "invalid_request",
      path: "scheduler",
      says: /there is no scheduler "eulr", the nearest is "euler"; the schedulers are ddim.*euler_ancestral/,
    },
    {
      name: "a scheduler as another program calls it",
      body: { prompt: "x", scheduler: "DPM++ 2M Karras" },
      status: 400,
      code: "invalid_request",
      path: "scheduler",
      says: /"DPM\+\+ 2M Karras" is called "dpmpp_2m_karras" here/,
    },
    {
      name: "a window that starts where it ends",
      body: { prompt: "x", controls: [{ ...control, control_guidance_start: 0.5, control_guidance_end: 0.5 }] },
      status: 400,
      code: "invalid_request",
      path: "controls[0].control_guidance_start",
      says: /less than control_guidance_end/,
    },
    {
      name: "a list of images that is not num_images long",
      body: { prompt: "x", num_images: 3, controls: [{ ...control, image: [uri(png), uri(png)] }] },
      status: 400,
      code: "invalid_request",
      path: "controls[0].image",
      says: /num_images \(3\)/,
    },
    {
      name: "an image by ftp",
      body: { prompt: "x", controls: [{ ...control, image: "ftp://example.com/a.png" }] },
      status: 400,
      code: "invalid_request",
      path: "controls[0].image",
      says: /an https: address, or "upload:"/,
    },
    {
      name: "more pixels than MAX_PIXELS",
      body: { prompt: "x", width: 512, height: 512 },
      status: 400,
      code: "too_many_pixels",
      path: "width",
      says: /at most 65536/,
    },
    {
      name: "metadata of more than 4 kB",
      body: { prompt: "x", metadata: { a: "b".repeat(5000) } },
      status: 400,
      code: "invalid_request",
      path: "metadata",
      says: /4096 bytes/,
    },
    {
      name: "a model that does not exist",
      body: { prompt: "x", model: "bass" },
      status: 422,
      code: "unknown_model",
      path: "model",
      says: /"base"/,
    },
    {
      name: "a ControlNet that does not exist",
      body: { prompt: "x", controls: [{ ...control, controlnet: "cany" }] },
      status: 422,
      code: "unknown_controlnet",
      path: "controls[0].controlnet",
      says: /"canny"/,
    },
    {
      name: "a ControlNet that does not fit the model",
      body: { prompt: "x", controls: [control, { ...control, controlnet: "wide" }] },
      status: 422,
      code: "controlnet_does_not_fit",
      path: "controls[1].controlnet",
      says: /"wide" does not fit the model "base": .*2048.*768.*; those that do: canny/,
    },
    {
      name: "a clip_skip beyond the model's text encoder",
      body: { prompt: "x", clip_skip: 13 },
      status: 422,
      code: "field_does_not_fit",
      path: "clip_skip",
      says: /without 12 layers at most/,
    },
    {
      name: "a cache branch beyond the model's skip connections",
      body: { prompt: "x", cache: { method: "deepcache", branch: 12 } },
      status: 422,
      code: "field_does_not_fit",
      path: "cache.branch",
      says: /must be at most 11 for "base"/,
    },
    {
      name: "the tiny decoder of a model that has none",
      body: { prompt: "x", decoder: "tiny" },
      status: 422,
      code: "field_does_not_fit",
      path: "decoder",
      says: /"base" has no tiny autoencoder/,
    },
    {
      name: "a scheduler that the model's config does not allow",
      body: { prompt: "x", scheduler: "euler_ancestral" },
      status: 422,
      code: "field_does_not_fit",
      path: "scheduler",
      says: /"base" does not allow euler_ancestral; those that it does: ddim, ddpm, pndm/,
    },
    {
      name: "eta for a scheduler that adds no noise of its own",
      body: { prompt: "x", scheduler: "heun", eta: 0.5 },
      status: 422,
      code: "field_does_not_fit",
      path: "eta",
      says: /heun has no use for it; those that have: ddim, tcd/,
    },
    {
      name: "a timestep_spacing for a scheduler that has its own",
      body: { prompt: "x", scheduler: "dpmpp_2s", timestep_spacing: "trailing" },
      status: 422,
      code: "field_does_not_fit",
      path: "timestep_spacing",
      says: /dpmpp_2s has no use for it/,
    },
    {
      name: "a zero-terminal-SNR schedule for a model that predicts the noise, where the signal is divided by",
      body: { prompt: "x", scheduler: "ddim", rescale_betas_zero_snr: true },
      status: 422,
      code: "field_does_not_fit",
      path: "rescale_betas_zero_snr",
      says: /must predict v_prediction or sample/,
    },
    {
      name: "a prediction that the scheduler has no formula for",
      body: { prompt: "x", scheduler: "pndm", prediction_type: "sample" },
      status: 422,
      code: "field_does_not_fit",
      path: "prediction_type",
      says: /pndm takes epsilon or v_prediction, not sample/,
    },
    {
      name: "a rescaled guidance without guidance",
      body: { prompt: "x", guidance_scale: 1, guidance_rescale: 0.7 },
      status: 422,
      code: "field_does_not_fit",
      path: "guidance_rescale",
      says: /guidance_scale must be more than 1/,
    },
    {
      name: "more steps than the model was distilled for",
      body: { prompt: "x", scheduler: "lcm", num_inference_steps: 51 },
      status: 422,
      code: "field_does_not_fit",
      path: "num_inference_steps",
      says: /lcm can take 50 steps at most/,
    },
    {
      name: "more control images than a worker has memory for",
      body: {
        prompt: "x",
        width: 256,
        height: 256,
        num_images: 8,
        controls: Array(8).fill({ ...control, image: Array(8).fill(control.image) }),
      },
      status: 400,
      code: "too_many_pixels",
      path: "controls",
      says: /64 control images of 256×256: at most 16 of this size/,
    },
    {
      name: "a seed that the last picture's would pass the largest with",
      body: { prompt: "x", seed: Number.MAX_SAFE_INTEGER - 1, num_images: 3 },
      status: 400,
      code: "invalid_request",
      path: "seed",
      says: /at most 9007199254740989/,
    },
    {
      name: "bytes that are no image",
      body: { prompt: "x", controls: [{ ...control, image: uri(Buffer.from("hello")) }] },
      status: 422,
      code: "image_undecodable",
      path: "controls[0].image",
      says: /PNG, JPEG, WebP and GIF/,
    },
    {
      name: "an image that is cut off",
      body: { prompt: "x", num_images: 2, controls: [{ ...control, image: [uri(png), uri(truncated)] }] },
      status: 422,
      code: "image_undecodable",
      path: "controls[0].image[1]",
      says: /damaged or incomplete/,
    },
    {
      name: "an image of more than MAX_IMAGE_BYTES",
      body: { prompt: "x", controls: [{ ...control, image: uri(noise) }] },
      status: 413,
      code: "image_too_large",
      path: "controls[0].image",
      says: /at most 5000/,
    },
  ];
  for (const { name, body, status, code, path, says } of cases) {
    test(name, async () => {
      const answer = conforms(await gateway.http.post("/v1/generations").send(body));
      assert.equal(answer.status, status);
      assert.equal(answer.body.code, code);
      const [error] = answer.body.errors;
      assert.equal(error.path, path);
      assert.match(error.message, says);
    });
  }

  test("a body of more than MAX_BODY_BYTES, and one that is not JSON", async () => {
    const large = await gateway.http.post("/v1/generations").send({ prompt: "x".repeat(31_000) });
    assert.equal(conforms(large).status, 413);
    const form = await gateway.http.post("/v1/generations").type("form").send("prompt=x");
    assert.equal(conforms(form).body.code, "not_json");
    const broken = await gateway.http.post("/v1/generations").type("json").send('{"prompt":');
    assert.equal(conforms(broken).body.code, "not_json");
  });

  test("a route or a generation that does not exist is a problem document too", async () => {
    const route = await gateway.http.get("/v1/nothing");
    assert.equal(route.status, 404);
    assert.equal(route.type, "application/problem+json");
    assert.equal(conforms(await gateway.http.get("/v1/generations/gen_0")).status, 404);
    assert.equal(conforms(await gateway.http.get("/v1/generations/gen_0/images/0")).status, 404);
  });

  test("what is refused leaves nothing in Redis", async () => {
    assert.deepEqual(await gateway.connection.keys("generation:*"), []);
  });
});

describe("a request that is taken", async () => {
  const gateway = await startGateway(stack);
  await gateway.offer(CATALOG);

  test("is answered at once with every default filled in and images by hash", async () => {
    const answer = await gateway.http
      .post("/v1/generations")
      .send({ prompt: "a house", scheduler: "heun", controls: [control], metadata: { order: 7 } });
    assert.equal(conforms(answer).status, 202);
    const generation: Generation = answer.body;
    assert.equal(answer.headers.location, `${gateway.config.PUBLIC_URL}/v1/generations/${generation.id}`);
    assert.equal(generation.status, "queued");
    assert.deepEqual(generation.progress, { step: 0, total: 39 });
    assert.deepEqual(generation.metadata, { order: 7 });
    const { seed, controls, ...rest } = generation.request;
    assert.ok(seed >= 0 && seed < 2 ** 32);
    assert.match(String(controls[0]?.image), /^sha256:[0-9a-f]{64}$/);
    assert.partialDeepStrictEqual(rest, {
      model: "base",
      prompt: "a house",
      negative_prompt: null,
      width: 64,
      height: 48,
      num_inference_steps: 20,
      guidance_scale: 7.5,
      scheduler: "heun",
      num_images: 1,
      guess_mode: false,
      output_format: "png",
      metadata: { order: 7 },
    });
    const read = conforms(await gateway.http.get(`/v1/generations/${generation.id}`));
    assert.deepEqual(read.body, generation);
  });

  test("by an earlier release is shown with the defaults of the fields that it did not have", async () => {
    const { body: made } = await gateway.http.post("/v1/generations").send({ prompt: "a house" });
    const { preview: _, loras: __, ...earlier } = made.request;
    await gateway.connection.hset(`generation:${made.id}`, "request", JSON.stringify(earlier));
    assert.deepEqual(conforms(await gateway.http.get(`/v1/generations/${made.id}`)).body, made);
    assert.equal(conforms(await gateway.http.get("/v1/generations?limit=1")).body.data[0].id, made.id);
  });

  test("echoes what it overrides of the checkpoint's scheduler, so that the echo can be carried out again", async () => {
    const overrides = {
      scheduler: "ddim",
      timestep_spacing: "trailing",
      prediction_type: "v_prediction",
      rescale_betas_zero_snr: true,
      guidance_rescale: 0.7,
      eta: 0.3,
    };
    const answer = await gateway.http.post("/v1/generations").send({ prompt: "a house", ...overrides });
    assert.equal(conforms(answer).status, 202);
    assert.partialDeepStrictEqual(answer.body.request, overrides);
    const { image, mask_image, strength, ...again } = answer.body.request;
    assert.deepEqual([image, mask_image, strength], [null, null, null]);
    const second = await gateway.http.post("/v1/generations").send(again);
    assert.deepEqual(second.body.request, answer.body.request);
  });

  test("is held no longer than Prefer: wait says when no worker takes it", async () => {
    const started = Date.now();
    const answer = await gateway.http.post("/v1/generations").set("Prefer", "wait=1").send({ prompt: "x" });
    assert.equal(conforms(answer).status, 202);
    assert.equal(answer.headers["preference-applied"], "wait=1");
    assert.ok(Date.now() - started >= 990);
  });
});

describe("a generation that a worker makes", async () => {
  const gateway = await startGateway(stack);
  await gateway.work();

  test("is the answer itself when the client waits for it, and its picture can be had and cached", async () => {
    const body = { prompt: "a red house", num_inference_steps: 2, scheduler: "ddim", seed: 7, num_images: 2 };
    const started = Date.now();
    const answer = await gateway.http
      .post("/v1/generations")
      .set("Prefer", "respond-async, wait=1000")
      .send({ ...body, controls: [control], output_format: "webp" });
    assert.equal(conforms(answer).status, 200);
    assert.equal(answer.headers["preference-applied"], "wait=55");
    assert.ok(Date.now() - started < 30_000, "the answer did not come with the end of the generation");
    const generation: Generation = answer.body;
    assert.equal(generation.status, "succeeded", JSON.stringify(generation.error));
    assert.deepEqual(generation.progress, { step: 2, total: 2 });
    assert.deepEqual(
      generation.images.map(({ seed }) => seed),
      [7, 8],
    );
    const [first] = generation.images;
    const path = new URL(first!.url).pathname;
    const image = conforms(await gateway.http.get(path));
    assert.equal(image.type, "image/webp");
    assert.equal(image.headers["cache-control"], "private, immutable");
    const { width, height, format } = await sharp(image.body).metadata();
    assert.deepEqual({ width, height, format }, { width: 64, height: 64, format: "webp" });
    const again = await gateway.http.get(path).set("If-None-Match", `W/"other", ${image.headers.etag}`);
    assert.equal(conforms(again).status, 304);
    assert.equal((await gateway.http.get(path).set("If-None-Match", '"other"')).status, 200);
    assert.equal(conforms(await gateway.http.get(path.replace(/0$/, "2"))).status, 404);
  });

  test("counts its steps while it runs", async () => {
    const body = { prompt: "x", num_inference_steps: 40, scheduler: "heun" };
    const { id } = (await gateway.http.post("/v1/generations").send(body)).body;
    const seen = new Set<number>();
    let generation: Generation;
    do {
      generation = conforms(await gateway.http.get(`/v1/generations/${id}`)).body;
      assert.equal(generation.progress.total, 79);
      if (generation.status === "processing") seen.add(generation.progress.step);
    } while (generation.status === "queued" || generation.status === "processing");
    assert.ok(seen.size > 3, `progress was ${[...seen]}`);
    assert.equal(generation.progress.step, 79);
  });

  test("shows in its progress what it is on its way to, when asked", async () => {
    const previews = async (preview: boolean) => {
      const body = { prompt: "x", num_inference_steps: 40, scheduler: "ddim", preview };
      const { id } = (await gateway.http.post("/v1/generations").send(body)).body;
      const { text } = await gateway.http.get(`/v1/generations/${id}/events`);
      const seen: (string | undefined)[] = [];
      const onEvent = ({ event, data }: EventSourceMessage) => {
        if (event === "progress") seen.push(JSON.parse(data).preview);
      };
      createParser({ onEvent }).feed(text);
      assert.equal(seen.length, 40);
      return seen.filter((preview) => preview !== undefined); // they go at the end: a slow reader misses the last
    };
    assert.deepEqual(await previews(false), []);
    const shown = await previews(true);
    assert.ok(new Set(shown).size > 2, `${shown.length} previews, ${new Set(shown).size} of them different`);
    for (const preview of shown) {
      const [head, base64] = preview.split(",");
      assert.equal(head, "data:image/jpeg;base64");
      const { format, width, height } = await sharp(Buffer.from(base64!, "base64")).metadata();
      assert.equal(format, "jpeg");
      assert.equal(width, height);
    }
  });

  test("lists what the installation offers", async () => {
    const models = conforms(await gateway.http.get("/v1/models")).body;
    assert.deepEqual(
      models.data.map(({ id, width, scheduler }: Record<string, unknown>) => ({ id, width, scheduler })),
      [{ id: "base", width: 64, scheduler: "pndm" }],
    );
    const controlnets = conforms(await gateway.http.get("/v1/controlnets")).body.data;
    assert.deepEqual(
      controlnets.map(({ id, models }: Record<string, unknown>) => `${id} fits ${models}`),
      ["canny fits base", "depth fits base", "shuffle fits base", "untrained fits base"],
    );
    const schedulers = conforms(await gateway.http.get("/v1/schedulers")).body.data;
    assert.deepEqual(
      schedulers.map(({ id }: { id: string }) => id),
      SCHEDULERS,
    );
    assert.equal(conforms(await gateway.http.get("/ready")).status, 200);
  });
});
