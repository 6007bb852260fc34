/** What a first try and a whole client need: the picture in the answer, one entry of a list, uploads by id, parts of a picture. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, describe, test } from "node:test";
import sharp from "sharp";
import { conforms } from "../support/conforms.ts";
import { startGateway } from "../support/gateway.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const gateway = await startGateway(stack);
await gateway.work();
const { http } = gateway;
const url = gateway.config.PUBLIC_URL;
const tiny = { prompt: "a house", num_inference_steps: 1, seed: 5 };
const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
  .png()
  .toBuffer();
const [{ id: controlnet }] = (await http.get("/v1/controlnets")).body.data;

const post = (body: object, headers: Record<string, string> = {}) =>
  fetch(`${url}/v1/generations`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Prefer: "wait=60", ...headers },
    body: JSON.stringify(body),
  });
const sha256 = (bytes: ArrayBuffer) => createHash("sha256").update(Buffer.from(bytes)).digest("hex");

describe("Accept: the first picture is the answer", () => {
  for (const [accept, type] of [
    ["image/png", "image/png"],
    ["image/webp", "image/webp"],
    ["image/jpeg, image/png;q=0.5", "image/jpeg"],
    ["image/*", "image/png"],
    ["image/avif, image/webp, */*;q=0.1", "image/webp"],
    ["image/avif,image/webp,*/*", "image/webp"],
    ["image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "image/webp"],
    ["image/jpg", "image/jpeg"],
    ["IMAGE/PNG; charset=utf-8", "image/png"],
    ["image/png, application/json", "image/png"],
    ["application/json;q=0.5, image/*;q=0.6", "image/png"],
  ] as const) {
    test(`${accept} → ${type}`, async () => {
      const answer = await post(tiny, { Accept: accept });
      const bytes = await answer.arrayBuffer();
      assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, type]);
      assert.equal(`image/${(await sharp(Buffer.from(bytes)).metadata()).format}`, type);
      const id = answer.headers.get("x-generation-id")!;
      const made = conforms(await http.get(`/v1/generations/${id}`)).body;
      assert.equal(answer.headers.get("x-seed"), String(made.images[0].seed));
      assert.equal(answer.headers.get("location"), `${url}/v1/generations/${id}`);
      assert.equal(answer.headers.get("content-location"), made.images[0].url);
      assert.equal(sha256(bytes), made.images[0].sha256);
    });
  }

  for (const accept of [
    "*/*",
    "application/json",
    "application/json, image/png",
    "application/json, text/plain, */*",
    "image/svg+xml, */*",
    "image/png;q=0, */*",
    "application/json, image/webp, application/problem+json",
  ]) {
    test(`${accept} → the generation`, async () => {
      const answer = await post(tiny, { Accept: accept });
      assert.match(answer.headers.get("content-type")!, /^application\/json/);
      assert.equal(((await answer.json()) as { status: string }).status, "succeeded");
    });
  }

  test("a format that the request names counts; another one of Accept's is refused", async () => {
    const named = await post({ ...tiny, output_format: "jpeg" }, { Accept: "image/*" });
    assert.equal(named.headers.get("content-type"), "image/jpeg");
    const refused = await post({ ...tiny, output_format: "jpeg" }, { Accept: "image/png" });
    const { code, errors } = (await refused.json()) as { code: string; errors: { path: string }[] };
    assert.deepEqual([refused.status, code, errors[0]!.path], [406, "not_acceptable", "output_format"]);
  });

  test("types of pictures that there are none of are refused by name, unless JSON will do", async () => {
    for (const accept of ["image/avif", "image/heic, image/tiff;q=0.5"]) {
      const answer = await post(tiny, { Accept: accept });
      const { code, detail } = (await answer.json()) as Record<string, string>;
      assert.deepEqual([answer.status, code], [406, "not_acceptable"]);
      assert.match(
        detail!,
        /^Accept asks for image\/(avif|heic, image\/tiff); there are image\/png, image\/webp, image\/jpeg/,
      );
    }
    const made = (await http.get("/v1/generations?limit=1")).body.data[0].id;
    assert.equal((await post(tiny, { Accept: "image/avif, application/json;q=0.1" })).status, 200);
    assert.notEqual((await http.get("/v1/generations?limit=1")).body.data[0].id, made);
    const map = await fetch(`${url}/v1/annotations`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "image/webp" },
      body: JSON.stringify({ annotator: "invert", image: `data:image/png;base64,${png.toString("base64")}` }),
    });
    assert.equal(map.status, 406);
  });

  test("without Prefer: wait it is accepted as ever", async () => {
    const answer = await post(tiny, { Accept: "image/png", Prefer: "" });
    assert.equal(answer.status, 202);
  });

  test("the same Idempotency-Key gives the same picture", async () => {
    const headers = { Accept: "image/png", "Idempotency-Key": "one" };
    const [first, second] = [
      await post({ prompt: "x", num_inference_steps: 1 }, headers),
      await post({ prompt: "x", num_inference_steps: 1 }, headers),
    ];
    assert.equal(sha256(await first.arrayBuffer()), sha256(await second.arrayBuffer()));
  });
});

test('"response": "base64": the bytes are in images[], of the answer and of GET, not of the list', async () => {
  const answer = await http
    .post("/v1/generations")
    .set("Prefer", "wait")
    .send({ ...tiny, num_images: 2, response: "base64" });
  const { id, images } = conforms(answer).body;
  assert.equal(images.length, 2);
  const got = (await http.get(`/v1/generations/${id}`)).body;
  assert.deepEqual(got.images, images);
  for (const image of images) {
    assert.equal(createHash("sha256").update(Buffer.from(image.base64, "base64")).digest("hex"), image.sha256);
  }
  const [listed] = (await http.get("/v1/generations?limit=1")).body.data;
  assert.deepEqual([listed.id, listed.images[0].base64], [id, undefined]);
});

describe("a picture's address", async () => {
  const { body } = await http.post("/v1/generations").set("Prefer", "wait").send(tiny);
  const path = `/v1/generations/${body.id}/images/0`;
  const whole = Buffer.from(await (await fetch(`${url}${path}`)).arrayBuffer());

  test("HEAD tells size and type", async () => {
    const answer = await fetch(`${url}${path}`, { method: "HEAD" });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("content-length"), String(whole.length));
    assert.equal(answer.headers.get("content-type"), "image/png");
    assert.equal(answer.headers.get("accept-ranges"), "bytes");
  });

  test("a query to get past a cache does not matter", async () => {
    for (const query of ["t=1700000000", "_=1", "anything", "v=3&nocache"]) {
      assert.equal((await fetch(`${url}${path}?${query}`)).status, 200, query);
    }
  });

  test("nor on what says whether there is a picture yet, nor in a list; a slip of a parameter's name is told", async () => {
    const one = path.replace("/images/0", "");
    for (const query of [
      "_=1700000000123",
      "_dc=5",
      "ts=1",
      "cb=0.1",
      "1700000000",
      "x=1700000000123",
      "y=0.123456789",
    ]) {
      assert.equal((await fetch(`${url}${one}?${query}`)).status, 200, query);
      assert.equal((await fetch(`${url}/v1/generations?limit=1&${query}`)).status, 200, query);
    }
    for (const query of ["limt=1", "limit=0", "stauts=queued"]) {
      assert.equal((await fetch(`${url}/v1/generations?${query}`)).status, 400, query);
    }
    assert.equal((await fetch(`${url}${one}?wait=60`)).status, 400);
  });

  for (const [range, first, end] of [
    ["bytes=0-9", 0, 10],
    ["bytes=10-", 10, whole.length],
    ["bytes=-7", whole.length - 7, whole.length],
    [`bytes=5-${10 ** 9}`, 5, whole.length],
  ] as const) {
    test(`Range: ${range}`, async () => {
      const answer = await fetch(`${url}${path}`, { headers: { Range: range } });
      assert.equal(answer.status, 206);
      assert.equal(answer.headers.get("content-range"), `bytes ${first}-${end - 1}/${whole.length}`);
      assert.deepEqual(Buffer.from(await answer.arrayBuffer()), whole.subarray(first, end));
    });
  }

  test("a range beyond it is refused; of what is no single range, and of another version, the whole is sent", async () => {
    const beyond = await http.get(path).set("Range", `bytes=${whole.length}-`);
    assert.deepEqual([beyond.status, beyond.headers["content-range"]], [416, `bytes */${whole.length}`]);
    for (const headers of [
      { Range: "bytes=0-1,4-5" },
      { Range: "lines=0-1" },
      { Range: "bytes=0-1", "If-Range": '"x"' },
    ]) {
      const answer = await fetch(`${url}${path}`, { headers: headers as Record<string, string> });
      assert.deepEqual([answer.status, (await answer.arrayBuffer()).byteLength], [200, whole.length]);
    }
  });
});

test("one of each list by its id; what is not there is 404", async () => {
  for (const shelf of ["models", "controlnets", "schedulers", "annotators"]) {
    const [first] = (await http.get(`/v1/${shelf}`)).body.data;
    assert.deepEqual((await http.get(`/v1/${shelf}/${first.id}`)).body, first);
    const missing = await http.get(`/v1/${shelf}/nothing`);
    assert.deepEqual([missing.status, missing.body.code], [404, "not_found"]);
    assert.equal((await http.get(`/v1/${shelf}/a%2Fb`)).status, 404);
  }
  assert.equal((await http.get("/v1/annotators/tile_resample")).body.id, "tile");
});

describe("an upload", () => {
  test("is shown by its id, and gone when it is deleted", async () => {
    const { body } = await http.post("/v1/uploads").type("image/png").send(png);
    const path = `/v1/uploads/${body.id}`;
    assert.deepEqual((await http.get(path)).body, body);
    assert.equal((await http.delete(path)).status, 204);
    for (const answer of [await http.get(path), await http.delete(path)]) assert.equal(answer.status, 404);
    const control = { controlnet, image: `upload:${body.id}` };
    assert.equal(
      (await http.post("/v1/generations").send({ ...tiny, controls: [control] })).body.code,
      "unknown_upload",
    );
  });

  test("comes as application/octet-stream and as a form's file too", async () => {
    const octets = await http.post("/v1/uploads").type("application/octet-stream").send(png);
    const form = await http.post("/v1/uploads").attach("file", png, { filename: "a.png", contentType: "image/png" });
    const expected = { width: 8, height: 8, bytes: png.length };
    for (const answer of [octets, form]) {
      assert.equal(conforms(answer).status, 201, answer.text);
      assert.partialDeepStrictEqual(answer.body, expected);
    }
    const two = await http.post("/v1/uploads").field("name", "a").attach("file", png, "a.png");
    assert.deepEqual([two.status, two.body.errors[0].path], [400, "file"]);
  });
});

test("transparency that is dropped is warned of, with its field", async () => {
  const strokes = sharp(
    Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><path stroke="#000" stroke-width="2" d="M0 0l64 64"/></svg>',
    ),
  );
  const image = `data:image/png;base64,${(await strokes.png().toBuffer()).toString("base64")}`;
  const opaque = `data:image/png;base64,${png.toString("base64")}`;
  const warned = (body: object) =>
    http
      .post("/v1/generations")
      .set("Prefer", "wait")
      .send({ ...tiny, ...body });
  const { body } = await warned({ controls: [{ controlnet, image, mask: image }] });
  assert.equal(body.status, "succeeded");
  assert.match(body.warnings.join("\n"), /controls\[0\]\.image: \d\d % .* transparent; .*the colors under it count/);
  assert.match(body.warnings.join("\n"), /controls\[0\]\.mask: .*how light its colors are/);
  const none = await warned({ controls: [{ controlnet, image: opaque }] });
  assert.doesNotMatch(none.body.warnings.join("\n"), /transparent/);
});
