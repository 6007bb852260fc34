/** What clients send and how they spell it: bodies that are none, JSON in another order, nulls, echoes, images as data: URIs. */
import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { after, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { request } from "undici";
import { CATALOG, startGateway } from "../support/gateway.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const gateway = await startGateway(stack, { MAX_BODY_BYTES: "100000" });
await gateway.offer(CATALOG);
const { http } = gateway;
const create = (body: object = { prompt: "x" }) => http.post("/v1/generations").send(body);
const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
  .png()
  .toBuffer();
const base64 = png.toString("base64");

describe("no body is none, whatever its Content-Type", () => {
  const TYPES = [
    "application/json",
    "application/json; charset=utf-8",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain;charset=UTF-8",
    "application/octet-stream",
    "application/vnd.api+json",
    "json",
  ];
  for (const type of TYPES) {
    for (const [how, headers] of [
      ["of length 0", { "Content-Length": "0" }],
      ["in no chunk", { "Transfer-Encoding": "chunked" }],
    ] as const) {
      if (type === "json" && how === "in no chunk") continue; // no media type, of something
      test(`${type}, ${how}: cancel, delete and rotate`, async () => {
        const { id } = (await create()).body;
        const send = async (method: string, path: string) => {
          const answer = await raw(method, path, { "Content-Type": type, ...headers });
          return answer.status;
        };
        assert.equal(await send("POST", `/v1/generations/${id}/cancel`), 202);
        assert.equal(await send("DELETE", `/v1/generations/${id}`), 204);
        assert.equal(await send("POST", "/v1/webhooks/secret/rotate"), 200);
        assert.equal(await send("POST", "/v1/webhooks/deliveries/evt_1/replay"), 404);
      });
    }
  }

  test("an empty object is none too; a field is refused, for nothing is read of it", async () => {
    const { id } = (await create()).body;
    const refused = await http.post(`/v1/generations/${id}/cancel`).send({ reason: "late" });
    assert.deepEqual([refused.status, refused.body.errors[0].path], [400, "reason"]);
    for (const [blank, status] of [
      [" \n", 202],
      ["{}", 409],
    ] as const) {
      assert.equal((await http.post(`/v1/generations/${id}/cancel`).type("json").send(blank)).status, status, blank);
    }
  });

  test("a form without a field is none too", async () => {
    const { id } = (await create()).body;
    const path = `${gateway.config.PUBLIC_URL}/v1/generations/${id}/cancel`;
    const field = new FormData();
    field.set("reason", "late");
    assert.equal((await fetch(path, { method: "POST", body: field })).status, 400);
    assert.equal((await fetch(path, { method: "POST", body: new FormData() })).status, 202);
  });

  test("where a body is needed, none is refused with what to send", async () => {
    const answer = await http.post("/v1/generations").type("json").send("");
    assert.equal(answer.body.code, "not_json");
    assert.match(answer.body.detail, /body is empty.*application\/json/);
  });
});

describe("what is no JSON in UTF-8 is told what to send", () => {
  const json = '{"prompt":"x"}';
  const CASES: [string, string, string | Buffer, Record<string, string>, number, RegExp][] = [
    [
      "JSON as text/plain",
      "text/plain",
      json,
      {},
      400,
      /text\/plain.*looks like JSON.*Content-Type: application\/json/,
    ],
    ["JSON as curl -d sends it", "application/x-www-form-urlencoded", json, {}, 400, /looks like JSON/],
    ["a form", "application/x-www-form-urlencoded", "prompt=x", {}, 400, /send JSON/],
    ["multipart", "multipart/form-data; boundary=x", "--x--", {}, 400, /send JSON.*POST \/v1\/uploads/],
    ["another charset", "application/json; charset=iso-8859-1", json, {}, 415, /iso-8859-1.*UTF-8/],
    ["UTF-16", "application/json", Buffer.from(json, "utf16le"), {}, 400, /not valid JSON/],
    ["bytes of Latin-1", "application/json", Buffer.from('{"prompt":"é"}', "latin1"), {}, 400, /not valid UTF-8/],
    ["gzip", "application/json", gzipSync(json), { "Content-Encoding": "gzip" }, 415, /gzip/],
    ["brotli", "application/json", json, { "Content-Encoding": "br" }, 415, /br are not read/],
  ];
  for (const [name, type, body, headers, status, says] of CASES) {
    test(name, async () => {
      const answer = await raw("POST", "/v1/generations", { "Content-Type": type, ...headers }, body);
      assert.equal(answer.status, status);
      assert.match((await answer.json()).detail, says);
    });
  }

  test("a byte order mark, identity and the charset UTF-8 are taken", async () => {
    const headers = { "Content-Type": 'application/json; charset="UTF-8"', "Content-Encoding": "identity" };
    assert.equal((await raw("POST", "/v1/generations", headers, `\ufeff${json}`)).status, 202);
  });

  test("a body that is too large hears how much is allowed", async () => {
    const answer = await create({ prompt: "x".repeat(100_001) });
    assert.equal(answer.status, 413);
    assert.match(answer.body.detail, /more than the 100000 bytes/);
  });
});

test("Idempotency-Key: the order of keys means nothing, the order of a list does", async () => {
  const send = (key: string, body: string) =>
    http.post("/v1/generations").set("Idempotency-Key", key).type("json").send(body);
  const first = await send("order", '{"prompt":"x","seed":1,"metadata":{"a":1,"b":[1,2]}}');
  const second = await send("order", '{"metadata": {"b":[1,2], "a":1}, "seed":1.0, "prompt":"x"}');
  assert.deepEqual([second.status, second.body.id], [202, first.body.id]);
  const other = await send("order", '{"prompt":"x","seed":1,"metadata":{"a":1,"b":[2,1]}}');
  assert.equal(other.status, 409);
});

test("Idempotency-Key: a field that is null is as one that is absent, but for what metadata holds", async () => {
  const send = (key: string, body: object) =>
    http
      .post("/v1/generations")
      .set("Idempotency-Key", key)
      .send({ prompt: "x", ...body });
  const first = await send("null", {});
  for (const body of [{ negative_prompt: null }, { webhook: null, controls: null, metadata: null }]) {
    const again = await send("null", body);
    assert.deepEqual([again.status, again.body.id], [202, first.body.id], JSON.stringify(body));
  }
  const control = { controlnet: "canny", image: `data:image/png;base64,${base64}` };
  const withControl = await send("control", { controls: [control] });
  const withNulls = await send("control", { controls: [{ ...control, mask: null, annotator: null }] });
  assert.deepEqual([withNulls.status, withNulls.body.id], [202, withControl.body.id]);
  assert.equal((await send("own", { metadata: { a: null, b: 1 } })).status, 202);
  assert.equal((await send("own", { metadata: { b: 1 } })).status, 409);
  const rotated = (body: string) =>
    http.post("/v1/webhooks/secret/rotate").set("Idempotency-Key", "secret").type("json").send(body);
  assert.deepEqual((await rotated("null")).body, (await rotated("")).body);
});

test("an annotator's parameters may be null; one of another type is named, not the annotator", async () => {
  const image = `data:image/png;base64,${base64}`;
  const withAnnotator = (annotator: unknown) =>
    create({ prompt: "x", controls: [{ controlnet: "canny", image, annotator }] });
  const plain = await withAnnotator("canny");
  for (const params of [null, {}, { low_threshold: null, detect_resolution: null }]) {
    const answer = await withAnnotator({ name: "canny", params });
    assert.deepEqual(answer.body.request?.controls, plain.body.request.controls, JSON.stringify(params));
  }
  const wrong = await withAnnotator({ name: "canny", params: { low_threshold: "low" } });
  assert.match(wrong.body.errors[0].message, /^params\.low_threshold: .*expected number/);
  for (const [name, says] of [
    ["cany", 'there is no annotator "cany", the nearest known one is "canny"; GET /v1/annotators lists them'],
    ["blueprint", 'there is no annotator "blueprint"; GET /v1/annotators lists them'],
  ]) {
    assert.equal((await withAnnotator(name)).body.errors[0].message, says);
  }
  const annotated = await http
    .post("/v1/annotations")
    .send({ annotator: "canny", params: { low_threshold: null }, image });
  assert.equal(annotated.status, 202, annotated.body.detail);
});

test("every unknown field is an error of its own, with its own path", async () => {
  const control = { controlnet: "canny", image: `data:image/png;base64,${base64}`, weight: 1, module: "canny" };
  const { body } = await create({ prompt: "x", steps: 20, cfg_scale: 7, restore_faces: true, controls: [control] });
  assert.deepEqual(
    Object.fromEntries(body.errors.map(({ path, message }: { path: string; message: string }) => [path, message])),
    {
      "controls[0].weight": 'unknown field "weight", here it is "conditioning_scale"',
      "controls[0].module": 'unknown field "module", here it is "annotator"',
      steps: 'unknown field "steps", here it is "num_inference_steps"',
      cfg_scale: 'unknown field "cfg_scale", here it is "guidance_scale"',
      restore_faces: 'unknown field "restore_faces"',
    },
  );
});

test("null is the same as absent for every optional field; what is required is said to be", async () => {
  const { properties, required } = (await http.get("/openapi.json")).body.components.schemas.CreateGenerationInput;
  const optional = Object.keys(properties).filter((name) => !required.includes(name));
  const nulls = Object.fromEntries(optional.map((name) => [name, null]));
  const answer = await create({ ...nulls, prompt: "x", seed: 3 });
  assert.equal(answer.status, 202, answer.body.detail);
  const plain = await create({ prompt: "x", seed: 3 });
  assert.deepEqual(answer.body.request, plain.body.request);
  const control = { controlnet: "canny", image: null, conditioning_scale: null };
  for (const [body, path] of [
    [{ prompt: null }, "prompt"],
    [{ prompt: "x", controls: [control] }, "controls[0].image"],
  ] as const) {
    const [error] = (await create(body)).body.errors;
    assert.equal(error.path, path);
    assert.match(error.message, /is required/);
  }
});

test("metadata may hold any key", async () => {
  const sent = '{"__proto__":{"a":null},"constructor":{"prototype":1},"":0,"toString":null}';
  const answer = await http.post("/v1/generations").type("json").send(`{"prompt":"x","metadata":${sent}}`);
  assert.equal(answer.status, 202);
  assert.match(answer.text, new RegExp(`"metadata":${sent.replace(/[{}]/g, "\\$&")}`));
  const again = await http.get(`/v1/generations/${answer.body.id}`);
  assert.ok(again.text.includes(`"metadata":${sent}`));
});

describe("images as data: URIs, as programs spell them", () => {
  const image = (source: unknown) => create({ prompt: "x", controls: [{ controlnet: "canny", image: source }] });
  for (const [name, source] of [
    ["capitals", `DATA:IMAGE/PNG;BASE64,${base64}`],
    ["a parameter", `data:image/png;name=a.png;base64,${base64}`],
    ["no type", `data:;base64,${base64}`],
    ["percent-encoded", `data:image/png;base64,${encodeURIComponent(base64)}`],
    ["unpadded", `data:image/png;base64,${base64.replace(/=+$/, "")}`],
    ["the URL's alphabet", `data:image/png;base64,${png.toString("base64url")}`],
    ["in lines", `data:image/png;base64,${base64.replace(/.{60}/g, "$&\r\n")}`],
  ] as const) {
    test(`${name}: read`, async () => {
      const answer = await image(source);
      assert.equal(answer.status, 202, answer.body.detail);
    });
  }
  for (const [name, source, status, says] of [
    ["base64 alone", base64, 400, /looks like base64 alone: "data:image\/png;base64," belongs before it/],
    ["no base64", "data:image/png,%89PNG", 400, /without base64/],
    [
      "a + become a blank",
      `data:image/png;base64,${base64.slice(0, 40)} ${base64.slice(41)}`,
      422,
      /character 40.*" ".*a \+/,
    ],
    ["cut off", `data:image/png;base64,${base64.slice(0, 41)}`, 422, /base64 is cut off/],
    ["whole base64 of half an image", `data:image/png;base64,${base64.slice(0, 40)}`, 422, /damaged or incomplete/],
    ["a number", 5, 400, /one image or a list/],
    ["nothing", undefined, 400, /is required/],
    ["a hash that nothing has", `sha256:${"0".repeat(64)}`, 422, /no generation of yours keeps/],
    ["HTTP:// in capitals", "HTTP://127.0.0.1/a.png", 422, /only https: is allowed; .*ALLOW_HOSTS/],
  ] as const) {
    test(`${name}: told apart`, async () => {
      const answer = await image(source);
      assert.equal(answer.status, status);
      assert.equal(answer.body.errors[0].path, "controls[0].image");
      assert.match(answer.body.errors[0].message, says);
    });
  }

  test("seed -1 is told to be left out", async () => {
    const { status, body } = await create({ prompt: "x", seed: -1 });
    assert.deepEqual([status, body.errors[0].path], [400, "seed"]);
    assert.match(body.errors[0].message, /left out, it is drawn at random/);
    const { errors } = (await create({ prompt: "x", seed: 1e30 })).body;
    assert.deepEqual(errors, [{ path: "seed", message: "must be a whole number from 0 to 9007199254740991" }]);
  });

  test("webhook.url: which check failed, and what would help", async () => {
    for (const [url, says] of [
      ["example.com/hook", /no complete URL/],
      ["localhost:3000/hook", /no complete URL/],
      ["ftp://example.com/", /must be an https: address, not ftp:/],
      ["http://example.com/", /only https: is allowed; .*ALLOW_HOSTS/],
      ["https://127.0.0.1/", /public address; .*ALLOW_HOSTS/],
      ["https://example.com:6379/", /port 6379 is not allowed.*ALLOW_HOSTS/],
      ["https://me:secret@example.com/", /no user name or password$/],
    ] as const) {
      const { body } = await create({ prompt: "x", webhook: { url } });
      assert.equal(body.errors[0].path, "webhook.url");
      assert.match(body.errors[0].message, says);
    }
  });
});

test("an echoed request can be sent again, its images by hash, and gives the same picture as long as it is kept", async () => {
  const worked = await startGateway(stack);
  await worked.work();
  const post = (body: object) => worked.http.post("/v1/generations").set("Prefer", "wait").send(body);
  const image = `data:image/png;base64,${base64}`;
  const models = (await worked.http.get("/v1/controlnets")).body.data;
  const request = {
    prompt: "a house",
    num_inference_steps: 2,
    image,
    controls: [{ controlnet: models[0].id, image: [image], mask: image }],
    webhook: null,
    metadata: { a: null },
  };
  const first = (await post(request)).body;
  assert.equal(first.status, "succeeded", JSON.stringify(first.error ?? first));
  const second = (await post(first.request)).body;
  assert.deepEqual(second.request, first.request);
  assert.equal(second.images[0].sha256, first.images[0].sha256);
  for (const { id } of [first, second]) assert.equal((await worked.http.delete(`/v1/generations/${id}`)).status, 204);
  const gone = await post(first.request);
  assert.deepEqual([gone.status, gone.body.code], [422, "unknown_image"]);
  assert.deepEqual(await worked.connection.keys("images:*"), []);
});

/** A request with exactly these headers. */
async function raw(method: string, path: string, headers: Record<string, string>, body?: string | Buffer) {
  const answer = await request(`${gateway.config.PUBLIC_URL}${path}`, {
    method: method as "POST",
    headers: Object.entries(headers)
      .filter(([name]) => !/^(transfer-encoding|content-length)$/i.test(name))
      .flat(),
    body: body ?? (headers["Transfer-Encoding"] ? Readable.from([]) : ""),
  });
  const text = await answer.body.text();
  return { status: answer.statusCode, json: async () => JSON.parse(text) };
}
