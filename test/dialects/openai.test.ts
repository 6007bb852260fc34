/** OpenAI's client, unmodified, makes pictures here; what cannot be done is refused in OpenAI's words. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import OpenAI, { toFile } from "openai";
import sharp from "sharp";
import { startGateway } from "../support/gateway.ts";
import { until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const KEY = "0123456789abcdef";
const gateway = await startGateway(stack, { API_KEYS: `me:${KEY},you:${KEY.toUpperCase()}` });
await gateway.work();
const baseURL = `${gateway.config.PUBLIC_URL}/v1`;
const client = new OpenAI({ baseURL, apiKey: KEY, maxRetries: 0 });
const authorized = { Authorization: `Bearer ${KEY}` };

/** Fields of ours that OpenAI's types do not know. */
// biome-ignore lint/suspicious/noExplicitAny: that is what passing through means
const ours = (fields: Record<string, unknown>): any => fields;
const quick = ours({ num_inference_steps: 2, seed: 7 });

const picture = (color: string, alpha?: Buffer) =>
  sharp({ create: { width: 64, height: 32, channels: 3, background: color } })
    .png()
    .toBuffer()
    .then((bytes) => (alpha === undefined ? bytes : sharp(bytes).joinChannel(alpha).png().toBuffer()));
const pngOf = async (b64: string | undefined) => sharp(Buffer.from(b64!, "base64")).metadata();
const uri = (bytes: Buffer) => `data:image/png;base64,${bytes.toString("base64")}`;

test("models are listed and found", async () => {
  const listed = await client.models.list();
  assert.ok(listed.data.some(({ id, owned_by }) => id === "base" && owned_by === "local"));
});

test("a picture comes as base64 and as an address, or as the one that is asked for", async () => {
  const both = await client.images.generate({ model: "base", prompt: "a house", size: "64x64", ...quick });
  const { b64_json, url } = both.data![0]!;
  const { format, width } = await pngOf(b64_json);
  assert.deepEqual([format, width], ["png", 64]);
  const fetched = await fetch(url!, { headers: authorized });
  assert.equal(Buffer.from(await fetched.arrayBuffer()).toString("base64"), b64_json);
  const base64 = await client.images.generate({
    model: "base",
    prompt: "a house",
    size: "64x64",
    response_format: "b64_json",
    ...quick,
  });
  assert.deepEqual(Object.keys(base64.data![0]!), ["b64_json"]);
  assert.equal(base64.data![0]!.b64_json, b64_json, "the same request, another picture");
});

test("n pictures, and our own fields beside OpenAI's", async () => {
  const edges = uri(await picture("#fff"));
  const made = await client.images.generate({
    model: "base",
    prompt: "a house",
    n: 2,
    size: "64x64",
    output_format: "webp",
    user: "somebody",
    quality: "low",
    ...ours({ controls: [{ controlnet: "canny", image: edges }], negative_prompt: "fog" }),
  });
  assert.equal(made.data!.length, 2);
  assert.equal((await pngOf(made.data![0]!.b64_json)).format, "webp");
  const { body } = await gateway.http.get("/v1/generations?limit=1").set(authorized);
  const { controls, negative_prompt, metadata, num_inference_steps } = body.data[0].request;
  assert.deepEqual([controls[0].controlnet, negative_prompt, metadata], ["canny", "fog", { user: "somebody" }]);
  assert.equal(num_inference_steps, 10, "of a low quality");
});

test("a stream sends as many previews as were asked for, then the picture", async () => {
  // Previews go at the end: with as many steps the reader may be a third of the generation behind.
  const request = { model: "base", prompt: "a house", size: "64x64", num_inference_steps: 149, seed: 7 } as const;
  const stream = await client.images.generate({ ...request, stream: true, partial_images: 2 });
  const events = [];
  for await (const event of stream) events.push(event);
  assert.deepEqual(
    events.map(({ type }) => type),
    ["image_generation.partial_image", "image_generation.partial_image", "image_generation.completed"],
  );
  assert.deepEqual(
    events.flatMap((event) => ("partial_image_index" in event ? [event.partial_image_index] : [])),
    [0, 1],
  );
  const whole = await client.images.generate({ ...request, response_format: "b64_json" });
  assert.equal(events.at(-1)!.b64_json, whole.data![0]!.b64_json);
});

test("an edit paints anew what is transparent in the mask, in the image's proportions", async () => {
  const half = Buffer.from(Array.from({ length: 64 * 32 }, (_, i) => (i % 64 < 32 ? 0 : 255)));
  const alpha = await sharp(half, { raw: { width: 64, height: 32, channels: 1 } })
    .png()
    .toBuffer();
  const made = await client.images.edit({
    model: "base",
    prompt: "a lake",
    image: await toFile(await picture("#0a0"), "image.png", { type: "image/png" }),
    mask: await toFile(await picture("#000", alpha), "mask.png", { type: "image/png" }),
    response_format: "b64_json",
    ...ours({ num_inference_steps: 4, strength: 0.5, seed: 3 }),
  });
  const { width, height } = await pngOf(made.data![0]!.b64_json);
  assert.deepEqual([width, height], [88, 48], "as 2:1 as multiples of 8 can be, in about 64×64 pixels");
  const { body } = await gateway.http.get("/v1/generations?limit=1").set(authorized);
  assert.match(body.data[0].request.mask_image, /^sha256:/);
  assert.equal(body.data[0].request.strength, 0.5);
});

test("an edit without a mask goes on from the image, with lists of ours in the form", async () => {
  const edges = uri(await picture("#fff"));
  await client.images.edit({
    model: "base",
    prompt: "a lake",
    image: [await toFile(await picture("#0a0"), "image.png", { type: "image/png" })],
    size: "64x64" as "1024x1024",
    ...ours({
      num_inference_steps: 2,
      controls: [
        { controlnet: "canny", image: edges, conditioning_scale: 0.5 },
        { controlnet: "canny", image: edges },
      ],
    }),
  });
  const { body } = await gateway.http.get("/v1/generations?limit=1").set(authorized);
  const { controls, mask_image } = body.data[0].request;
  assert.deepEqual(
    controls.map(({ conditioning_scale }: { conditioning_scale: number }) => conditioning_scale),
    [0.5, 1],
  );
  assert.equal(mask_image, null);
});

/** Each call, and what is said of it. */
const REFUSED: [name: string, fields: Record<string, unknown>, status: number, code: string, says: RegExp][] = [
  ["an unknown model", { model: "dall-e-3" }, 404, "model_not_found", /dall-e-3.*base/],
  ["an unknown field", { sead: 1 }, 400, "invalid_request", /sead.*seed/],
  ["a background that is not there", { background: "transparent" }, 400, "invalid_request", /opaque/],
  ["a style", { style: "vivid" }, 400, "invalid_request", /style.*prompt/],
  ["two sizes", { size: "64x64", width: 32 }, 400, "invalid_request", /size.*width/],
  ["previews without a stream", { partial_images: 1 }, 400, "invalid_request", /stream/],
  [
    "an unknown ControlNet",
    { controls: [{ controlnet: "x", image: uri(await picture("#fff")) }] },
    400,
    "unknown_controlnet",
    /"x"/,
  ],
];
for (const [name, fields, status, code, says] of REFUSED) {
  test(`${name} is refused by name`, async () => {
    await assert.rejects(client.images.generate({ model: "base", prompt: "a house", ...ours(fields) }), (error) => {
      assert.ok(error instanceof OpenAI.APIError);
      assert.deepEqual([error.status, error.code], [status, code]);
      assert.match(error.message, says);
      return true;
    });
  });
}

test("a wrong key is an authentication error", async () => {
  const stranger = new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(
    stranger.images.generate({ model: "base", prompt: "a house" }),
    (error) => error instanceof OpenAI.AuthenticationError && error.code === "invalid_api_key",
  );
});

test("variations are refused with what to do instead", async () => {
  const image = await toFile(await picture("#0a0"), "image.png", { type: "image/png" });
  await assert.rejects(
    client.images.createVariation({ image }),
    (error) => error instanceof OpenAI.NotFoundError && /edits/.test(error.message),
  );
});

test("who hangs up ends the generation", async () => {
  const hangUp = new AbortController();
  const asked = client.images.generate(
    { model: "base", prompt: "long", ...ours({ size: "256x256", num_inference_steps: 150, seed: 1 }) },
    { signal: hangUp.signal },
  );
  await until("it to run", async () => {
    const { body } = await gateway.http.get("/v1/generations?status=processing").set(authorized);
    return body.data.length > 0 || undefined;
  });
  hangUp.abort();
  await assert.rejects(asked);
  await until("it to be canceled", async () => {
    const { body } = await gateway.http.get("/v1/generations?limit=1").set(authorized);
    return body.data[0].status === "canceled" || undefined;
  });
});

test("a stream's head and first preview come while the generation runs, which ends when the stream is left", async () => {
  const asked = { model: "base", prompt: "long", size: "256x256", num_inference_steps: 24, seed: 2 } as const;
  const { data: stream, response } = await client.images
    .generate({ ...asked, stream: true, partial_images: 3 })
    .withResponse();
  assert.match(response.headers.get("content-type")!, /^text\/event-stream/);
  const latest = async () => (await gateway.http.get("/v1/generations?limit=1").set(authorized)).body.data[0];
  assert.match((await latest()).status, /queued|processing/);
  for await (const { type } of stream) {
    assert.equal(type, "image_generation.partial_image");
    assert.equal((await latest()).status, "processing");
    break;
  }
  await until("it to be canceled", async () => (await latest()).status === "canceled" || undefined);
});

test("a file where a form's prompt belongs is refused: it was read as its data: URI", async () => {
  const form = new FormData();
  form.set("prompt", new Blob(["a house"], { type: "text/plain" }), "prompt.txt");
  const answer = await fetch(`${baseURL}/images/edits`, { method: "POST", body: form, headers: authorized });
  const { error } = (await answer.json()) as { error: { message: string; param: string } };
  assert.deepEqual([answer.status, error.message, error.param], [400, "prompt: is a file: send it as text", "prompt"]);
});

test("a form of another site's page is not taken", async () => {
  const form = new FormData();
  form.set("prompt", "a house");
  const headers = { ...authorized, "Sec-Fetch-Site": "cross-site" };
  const answer = await fetch(`${baseURL}/images/edits`, { method: "POST", body: form, headers });
  assert.equal(answer.status, 400);
  assert.match(JSON.stringify(await answer.json()), /other sites/);
});

test("the key may be the password of HTTP Basic", async () => {
  const asBasic = (text: string) => ({ Authorization: `Basic ${Buffer.from(text).toString("base64")}` });
  for (const [sent, status] of [
    [`anybody:${KEY}`, 200],
    [`${KEY}:`, 200],
    ["anybody:wrong", 401],
  ] as const) {
    assert.equal((await fetch(`${baseURL}/models`, { headers: asBasic(sent) })).status, status, sent);
  }
});
