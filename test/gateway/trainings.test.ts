/** `POST /v1/trainings` and its kin on a gateway without a training worker: what is taken, refused, listed and told. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { claimJob, finish, reportStep } from "../../src/jobs/attempt.ts";
import { countFiles, countMore } from "../../src/jobs/files-made.ts";
import type { TrainingRecord } from "../../src/jobs/training.ts";
import type { Training } from "../../src/schema/training.ts";
import type { WebhookDelivery } from "../../src/schema/webhook.ts";
import { lossKey } from "../../src/storage/keys.ts";
import { startDeliverer } from "../../workers/deliver/worker.ts";
import { conforms } from "../support/conforms.ts";
import { CATALOG, log, startGateway } from "../support/gateway.ts";
import { temporaryFolder, until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const BODY = { base: "base", name: "circles", dataset: "folder:circles", max_train_steps: 10 };
const GENERATION = { model: "base", prompt: "x" };
const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
  .png()
  .toBuffer();
const image = `data:image/png;base64,${png.toString("base64")}`;

const gateway = await startGateway(stack, { MAX_ARCHIVE_BYTES: "2000", MAX_QUEUE: "3" });
const { http, connection } = gateway;
const able = CATALOG.models[0]!;
await gateway.offer({ ...CATALOG, models: [able, { ...able, id: "large", family: "sdxl", trainable: false }] });

const post = (body: object) => http.post("/v1/trainings").send(body);
const upload = (bytes: Buffer, type: string) => http.post("/v1/uploads").type(type).send(bytes);
const zip = Buffer.concat([Buffer.from("PK\x05\x06"), Buffer.alloc(18)]);
const files = () => {
  const folder = join(gateway.config.DATA_DIR, "artifacts/trainings");
  return existsSync(folder) ? readdirSync(folder) : [];
};

describe("a training that cannot be taken is refused with what is wrong and what would be right", () => {
  const cases: [name: string, body: object, status: number, code: string, path: string, says: RegExp][] = [
    ["no steps", { max_train_steps: undefined }, 400, "invalid_request", "max_train_steps", /is required/],
    ["an unknown field", { learning_rat: 1 }, 400, "invalid_request", "learning_rat", /"learning_rate"/],
    ["a name that is a path", { name: "../x" }, 400, "invalid_request", "name", /letters, digits/],
    ["a hidden name", { name: ".x" }, 400, "invalid_request", "name", /letters, digits/],
    [
      "a dataset that is a path",
      { dataset: "folder:a/../b" },
      400,
      "invalid_request",
      "dataset",
      /"folder:" and a name/,
    ],
    ["a dataset from an address", { dataset: "https://a/b.zip" }, 400, "invalid_request", "dataset", /"upload:"/],
    [
      "a warm-up longer than the training",
      { lr_warmup_steps: 11 },
      400,
      "invalid_request",
      "lr_warmup_steps",
      /at most/,
    ],
    ["a base that is not there", { base: "bas" }, 422, "unknown_model", "base", /"base"/],
    ["a base that is SDXL", { base: "large" }, 422, "model_not_trainable", "base", /there are: base/],
    [
      "a resolution that the base cannot halve",
      { resolution: 72 },
      422,
      "field_does_not_fit",
      "resolution",
      /^72 does not fit the model "base": it must be a multiple of 64$/,
    ],
    [
      "a resolution of too many pixels",
      { resolution: 4096, train_batch_size: 1 },
      422,
      "too_many_pixels",
      "resolution",
      /^4096×4096 is 16777216 pixels: at most 4194304 are allowed/,
    ],
    [
      "a batch of too many pixels",
      { resolution: 512, train_batch_size: 17 },
      422,
      "too_many_pixels",
      "train_batch_size",
      /17 × 512×512 is 4456448 pixels: at most 4194304 are allowed \(MAX_PIXELS\), 16 of these/,
    ],
    ["the name of another ControlNet", { name: "canny" }, 409, "name_taken", "name", /already/],
    [
      "an upload that is not there",
      { dataset: "upload:upl_0" },
      422,
      "unknown_upload",
      "dataset",
      /no archive "upl_0"/,
    ],
    [
      "a validation image that is none",
      { validation: [{ prompt: "x", image: "data:image/png;base64,AAAA" }] },
      422,
      "image_undecodable",
      "validation[0].image",
      /./,
    ],
    ["a webhook inside", { webhook: { url: "https://127.0.0.1/" } }, 422, "address_refused", "webhook.url", /public/],
  ];
  for (const [name, more, status, code, path, says] of cases) {
    test(name, async () => {
      const answer = conforms(await post({ ...BODY, ...more }));
      assert.deepEqual([answer.status, answer.body.code], [status, code], answer.text);
      assert.equal(answer.body.errors[0].path, path);
      assert.match(answer.body.errors[0].message, says);
    });
  }

  test("and leaves nothing", async () => {
    assert.deepEqual(await connection.keys("training*"), []);
    assert.deepEqual(files(), []);
  });
});

describe("an archive", () => {
  test("is taken by its content, whatever it is called", async () => {
    for (const type of ["application/zip", "application/x-tar", "application/gzip"]) {
      const answer = conforms(await upload(zip, type));
      assert.equal(answer.status, 201, answer.text);
      assert.deepEqual([answer.body.bytes, answer.body.width, answer.body.height], [22, null, null]);
    }
    assert.equal(conforms(await upload(gzipSync("x"), "application/zip")).status, 201);
    assert.equal(conforms(await upload(Buffer.from("hello"), "application/zip")).body.code, "not_an_archive");
    assert.equal(conforms(await upload(png, "application/zip")).body.code, "not_an_archive");
    assert.equal(conforms(await upload(zip, "image/png")).body.code, "image_undecodable");
    const tooLarge = conforms(await upload(Buffer.concat([zip, Buffer.alloc(2000)]), "application/zip"));
    assert.deepEqual([tooLarge.status, tooLarge.body.code], [413, "body_too_large"]);
  });

  test("of too many bytes is refused also when it does not say how many", async () => {
    const chunks = async function* () {
      for (let i = 0; i < 3; i++) yield Buffer.concat([zip, Buffer.alloc(978)]);
    };
    const headers = { "content-type": "application/zip" };
    const request = { method: "POST", headers, body: ReadableStream.from(chunks()), duplex: "half" };
    const answer = await fetch(`${gateway.config.PUBLIC_URL}/v1/uploads`, request as RequestInit);
    assert.equal(answer.status, 413);
    await answer.body?.cancel();
  });

  test("is no image, and an image is no archive", async () => {
    const archive = (await upload(zip, "application/zip")).body.id;
    const picture = (await upload(png, "image/png")).body.id;
    const generation = await http.post("/v1/generations").send({ ...GENERATION, image: `upload:${archive}` });
    assert.equal(conforms(generation).body.code, "unknown_upload");
    assert.equal(conforms(await post({ ...BODY, dataset: `upload:${picture}` })).body.code, "unknown_upload");
  });

  test("sent again with its Idempotency-Key is the same upload; refused or sent again, it leaves no file", async () => {
    const send = (bytes: Buffer) => upload(bytes, "application/zip").set("Idempotency-Key", "archive");
    const first = conforms(await send(zip));
    assert.deepEqual(conforms(await send(zip)).body, first.body);
    assert.equal(conforms(await send(Buffer.concat([zip, zip]))).status, 409);
    const left = () => readdirSync(join(gateway.config.DATA_DIR, "artifacts/tmp")).length;
    await until("no file to be left", async () => left() === 0);
  });
});

test("a training that is taken has every default filled in, and tells what happens to it", async () => {
  const { id } = (await upload(zip, "application/zip")).body;
  const send = () =>
    post({ ...BODY, dataset: `upload:${id}`, validation: [{ prompt: "x", image }], metadata: { order: 7 } }).set(
      "Idempotency-Key",
      "training",
    );
  const answer = conforms(await send());
  assert.equal(answer.status, 202, answer.text);
  const training: Training = answer.body;
  assert.equal(answer.headers.location, `${gateway.config.PUBLIC_URL}/v1/trainings/${training.id}`);
  assert.match(training.id, /^trn_[0-9a-f]{32}$/);
  assert.deepEqual([training.status, training.progress, training.loss], ["queued", { step: 0, total: 10 }, null]);
  assert.match(training.request.validation[0]!.image, /^sha256:[0-9a-f]{64}$/);
  assert.partialDeepStrictEqual(training.request, {
    learning_rate: 1e-5,
    train_batch_size: 4,
    gradient_accumulation_steps: 1,
    resolution: 512,
    proportion_empty_prompts: 0.5,
    checkpointing_steps: 500,
    seed: 0,
  });
  assert.equal(conforms(await send()).body.id, training.id, "the same key and body are the same training");
  const path = `/v1/trainings/${training.id}`;
  assert.deepEqual(conforms(await http.get(path)).body, training);
  assert.deepEqual(conforms(await http.get("/v1/trainings?status=queued")).body.data, [training]);
  assert.equal(conforms(await post({ ...BODY, dataset: `upload:${id}` })).body.code, "name_taken");
  assert.equal(conforms(await http.delete(path)).status, 409);
  assert.equal(conforms(await http.get(`${path}/loss.csv`)).status, 404);
  const loss = join(gateway.config.DATA_DIR, "artifacts", lossKey(training.id, "csv"));
  writeFileSync(loss, "step,loss\n1,0.5\n");
  assert.equal(conforms(await http.get(`${path}/loss.csv`)).text, "step,loss\n1,0.5\n");
  truncateSync(loss, 3e9); // more than is read whole; it takes no room
  const large = await fetch(`${gateway.config.PUBLIC_URL}${path}/loss.csv`);
  assert.deepEqual([large.status, large.headers.get("content-length")], [200, "3000000000"]);
  await large.body!.cancel();
  rmSync(loss);
  assert.equal(await connection.exists(`bull:trainings:${training.id}`), 1);

  const claimed = (await claimJob<TrainingRecord>(connection, training.id))!;
  const step = { total: 10, loss: 0.5, learning_rate: 1e-5 };
  assert.equal(await reportStep(connection, claimed, { ...step, step: 1, validation: null }), true);
  await reportStep(connection, claimed, { ...step, step: 2, loss: 0.25, validation: [{ step: 2, index: 0 }] });
  const running: Training = conforms(await http.get(path)).body;
  const url = `${gateway.config.PUBLIC_URL}${path}/validation/2/0`;
  assert.deepEqual([running.status, running.loss, running.progress.step], ["processing", 0.25, 2]);
  assert.deepEqual(running.validation, [{ step: 2, index: 0, url }]);
  assert.equal(conforms(await http.post(`${path}/cancel`)).body.status, "processing");
  assert.equal(await reportStep(connection, claimed, { ...step, step: 3, validation: null }), false);
  const counted = () => connection.hmget("jobs:files", "of:default", "all");
  const [before] = await counted();
  const of = (bytes: number) => [String(Number(before) + bytes), String(Number(before) + bytes)];
  await countFiles(connection, training.id, "unpacked", 5000);
  for (const step of [2, 2, 4, 2]) await countMore(connection, training.id, "pictures", 100 * step, step); // a takeover's again
  for (const bytes of [10, 30]) await countFiles(connection, training.id, "curve", bytes);
  assert.deepEqual(await counted(), of(5000 + 200 + 400 + 30));
  for (const part of ["dataset", "unpacked"] as const) await countFiles(connection, training.id, part, 0);
  assert.deepEqual(await counted(), of(200 + 400 + 30 - zip.length));
  const done = { status: "succeeded", controlnet: "circles" } as const;
  assert.equal(await finish(connection, claimed, done), "canceled", "it was done before it heard");
  const events = await http.get(`${path}/events`);
  const told = [...events.text.matchAll(/^event: (.*)\ndata: (.*)$/gm)].map(([, event, data]) => {
    const { step, loss, validation, status } = JSON.parse(data!);
    return event === "progress" ? { step, loss, validation } : status;
  });
  assert.deepEqual(told, [
    "queued",
    "processing",
    { step: 1, loss: 0.5, validation: [] },
    { step: 2, loss: 0.25, validation: [{ step: 2, index: 0, url }] },
    { step: 3, loss: 0.5, validation: [] },
    "canceled",
  ]);
  assert.equal(conforms(await http.delete(path)).status, 204);
  assert.deepEqual(await counted(), ["0", "0"]);
  const left = await connection.keys(`*${training.id}*`);
  assert.deepEqual(left, [`bull:trainings:${training.id}`]); // whoever takes it finds that it is gone
  assert.deepEqual(files(), []);
});

test("of more than 10,000 steps, events tell evenly spread ones and those at which it was saved", async () => {
  const { body } = conforms(await post({ ...BODY, max_train_steps: 50_000 }));
  const claimed = (await claimJob<TrainingRecord>(connection, body.id))!;
  for (let step = 1; step <= 12; step++) {
    const report = { step, total: 50_000, loss: 1, learning_rate: 1, validation: step === 7 ? [] : null };
    await reportStep(connection, claimed, report);
  }
  assert.equal((await http.get(`/v1/trainings/${body.id}`)).body.progress.step, 12);
  const entries = await connection.xrange(`events:${body.id}`, "3-0", "+");
  assert.deepEqual(
    entries.map(([id]) => id),
    ["3-5", "3-7", "3-10"],
  );
  await finish(connection, claimed, { status: "canceled" });
});

test("workers may die over a training again and again as long as it gets on in between", async () => {
  const { body } = conforms(await post(BODY));
  const deaths: number[] = [];
  for (let step = 1; step <= 4; step++) {
    const claimed = (await claimJob<TrainingRecord>(connection, body.id))!;
    deaths.push(claimed.deaths);
    const report = { step, total: 10, loss: 1, learning_rate: 1, validation: step === 2 ? [] : null };
    await reportStep(connection, claimed, report);
  }
  assert.deepEqual(deaths, [0, 1, 1, 2]);
  await http.post(`/v1/trainings/${body.id}/cancel`);
});

test("a training's name is free again from its end, however that comes, and nothing is kept of it", async () => {
  const body = { ...BODY, name: "freed" };
  const holder = () => connection.hget("trainings:names", "freed");
  const first = conforms(await post(body)).body;
  assert.equal(await holder(), first.id);
  assert.equal(conforms(await post(body)).body.code, "name_taken");
  assert.equal(conforms(await http.post(`/v1/trainings/${first.id}/cancel`)).body.status, "canceled");
  assert.equal(await holder(), null);
  const error = { code: "training_failed", message: "x" };
  for (const outcome of [
    { status: "failed", error },
    { status: "succeeded", controlnet: "freed" },
  ] as const) {
    const { id } = conforms(await post(body)).body;
    const claimed = (await claimJob<TrainingRecord>(connection, id))!;
    assert.equal(await holder(), id);
    assert.equal(await finish(connection, claimed, outcome), outcome.status);
    assert.equal(await holder(), null);
  }
});

test("whatever JSON its metadata and prompts are, a training comes to its end, and that is told", async () => {
  const nested = (depth: number): unknown => (depth === 0 ? "\ud800" : [nested(depth - 1)]);
  const validation = [{ prompt: "\udfff", image }];
  const { id } = conforms(
    await post({ ...BODY, name: "strange", metadata: { nested: nested(1500) }, validation }),
  ).body;
  const canceled = await http.post(`/v1/trainings/${id}/cancel`);
  assert.deepEqual([canceled.status, canceled.body.status], [202, "canceled"], canceled.text);
  const { text } = await http.get(`/v1/trainings/${id}/events`);
  assert.deepEqual(text.match(/(?<=^event: ).*/gm), ["queued", "canceled"]);
  assert.equal(await connection.hget("trainings:names", "strange"), null);
});

test("where the gateway has the DATASETS_DIR, a folder that is not in it is refused at once", async () => {
  const DATASETS_DIR = await temporaryFolder(stack);
  mkdirSync(join(DATASETS_DIR, "circles"));
  writeFileSync(join(DATASETS_DIR, "file"), "");
  symlinkSync("/etc", join(DATASETS_DIR, "outside"));
  const own = await startGateway(stack, { DATASETS_DIR });
  await own.offer(CATALOG);
  const cases: [name: string, says: RegExp][] = [
    ["nothing", /^DATASETS_DIR has no folder "nothing"$/],
    ["file", /^DATASETS_DIR has no folder "file"$/],
    ["..", /^DATASETS_DIR has no folder "\.\."$/],
    ["nul\0", /^DATASETS_DIR has no folder /],
    ["ü".repeat(200), /^DATASETS_DIR has no folder /],
    ["outside", /^the folder "outside" leads out of DATASETS_DIR$/],
  ];
  for (const [name, says] of cases) {
    const answer = conforms(await own.http.post("/v1/trainings").send({ ...BODY, dataset: `folder:${name}` }));
    assert.deepEqual([answer.status, answer.body.code], [422, "unknown_dataset"], answer.text);
    assert.equal(answer.body.errors[0].path, "dataset");
    assert.match(answer.body.errors[0].message, says);
  }
  assert.equal(conforms(await own.http.post("/v1/trainings").send(BODY)).status, 202);
});

test("a full queue of trainings refuses with 429; generations have one of their own", async () => {
  for (const name of ["a", "b", "c"]) assert.equal((await post({ ...BODY, name })).status, 202);
  assert.equal(conforms(await post({ ...BODY, name: "d" })).body.code, "queue_full");
  assert.equal((await http.post("/v1/generations").send(GENERATION)).status, 202);
});

test("webhooks tell of a training as they do of a generation", async () => {
  const bodies: { type: string; data: Training }[] = [];
  const server = createServer(async (request, reply) => {
    bodies.push(JSON.parse((await request.toArray()).join("")));
    reply.end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(async () => void server.close());
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const own = await startGateway(stack, { ALLOW_HOSTS: host });
  await own.offer(CATALOG);
  const webhook = { url: `http://${host}/`, events: ["started", "canceled"] };
  const { body } = conforms(await own.http.post("/v1/trainings").send({ ...BODY, webhook }));
  const claimed = (await claimJob<TrainingRecord>(own.connection, body.id))!;
  await finish(own.connection, claimed, { status: "canceled" });
  const deliverer = startDeliverer(own.config, log);
  stack.defer(() => deliverer.close());
  await until("both", async () => bodies.length === 2);
  assert.deepEqual(bodies.map(({ type }) => type).sort(), ["training.canceled", "training.started"]);
  assert.deepEqual(
    bodies.find(({ type }) => type === "training.canceled")!.data,
    (await own.http.get(`/v1/trainings/${body.id}`)).body,
  );
  const listed = conforms(await own.http.get(`/v1/webhooks/deliveries?training=${body.id}`)).body.data;
  assert.deepEqual(
    listed.map(({ type, training, generation }: WebhookDelivery) => [type, training, generation]),
    [
      ["training.canceled", body.id, null],
      ["training.started", body.id, null],
    ],
  );
});
