/** Who may: over HTTP, route by route as the OpenAPI document has them, so that a new one is looked at too. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import type { Test } from "supertest";
import { openApiDocument } from "../../openapi/document.ts";
import { conforms } from "../support/conforms.ts";
import { CATALOG, startGateway } from "../support/gateway.ts";
import { temporaryFolder } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const ANN = "ann-has-this-key-1";
const ANN_TOO = "ann-has-this-key-2";
const BOB = "bob-has-this-key-1";
const API_KEYS = `ann:${ANN}, ann:${ANN_TOO}, bob:${BOB}`;
const OPEN = ["/health", "/ready"];

const document = JSON.parse(await openApiDocument());
const ROUTES: { method: "get" | "post" | "delete"; path: string }[] = Object.entries(document.paths).flatMap(
  ([path, methods]) => Object.keys(methods as object).map((method) => ({ method: method as "get", path })),
);

const as = (key: string, request: Test) => request.set("Authorization", `Bearer ${key}`);
const png = readFileSync(new URL("../fixtures/image/decode/rgb.png", import.meta.url));

describe("with API keys", () => {
  let gateway: Awaited<ReturnType<typeof startGateway>>;
  /** Ids of ann's, by what the path calls them. */
  const ids: Record<string, string> = {};
  let upload: string;

  before(async () => {
    gateway = await startGateway(stack, { API_KEYS, ALLOW_HOSTS: "127.0.0.1" });
    const { http, work } = gateway;
    await work();
    const body = {
      prompt: "x",
      num_inference_steps: 1,
      webhook: { url: "http://127.0.0.1:9/", events: ["succeeded"] },
    };
    const made = conforms(await as(ANN, http.post("/v1/generations").set("Prefer", "wait=60").send(body))).body;
    assert.equal(made.status, "succeeded");
    ids["/v1/generations/"] = made.id;
    const delivered = await as(ANN, http.get(`/v1/webhooks/deliveries?generation=${made.id}`));
    ids["/v1/webhooks/deliveries/"] = conforms(delivered).body.data[0].id;
    const training = { base: CATALOG.models[0]!.id, name: "circles", dataset: "folder:circles", max_train_steps: 10 };
    ids["/v1/trainings/"] = conforms(await as(ANN, http.post("/v1/trainings").send(training))).body.id;
    ids["/v1/uploads/"] = upload = conforms(await as(ANN, http.post("/v1/uploads").type("image/png").send(png))).body
      .id;
    const annotation = { annotator: "canny", image: `upload:${upload}` };
    ids["/v1/annotations/"] = conforms(await as(ANN, http.post("/v1/annotations").send(annotation))).body.id;
  });

  for (const { method, path } of ROUTES) {
    const open = OPEN.includes(path);
    test(`${method.toUpperCase()} ${path} ${open ? "needs no key" : "without a key, or with a wrong one, is 401"}`, async () => {
      assert.deepEqual(document.paths[path][method].security, open ? [] : undefined);
      for (const wrong of [undefined, "Bearer", "Bearer nobody-has-this-key", `Basic ${ANN}`, `Bearer ${ANN}x`]) {
        const request = gateway.http[method](path.replace(/\{\w+\}/g, "0"));
        const answer = conforms(await (wrong === undefined ? request : request.set("Authorization", wrong)));
        if (open) {
          assert.equal(answer.status, 200);
          continue;
        }
        assert.equal(answer.status, 401);
        assert.equal(answer.body.code, "unauthorized");
        assert.match(answer.headers["www-authenticate"]!, /^Bearer/);
      }
    });

    // What is offered, is offered to all.
    if (!path.includes("{") || document.paths[path][method].tags.includes("catalog")) continue;
    test(`${method.toUpperCase()} ${path} of another key's is 404, as if it were not there`, async () => {
      const [prefix, id] = Object.entries(ids).find(([prefix]) => path.startsWith(prefix)) ?? [];
      assert.ok(id, `no resource is made for ${path}`);
      const url = path.replace("{id}", id).replace(/\{\w+\}/g, "0");
      const others = conforms(await as(BOB, gateway.http[method](url)));
      const none = await as(BOB, gateway.http[method](url.replace(id, "none")));
      assert.equal(others.status, 404);
      assert.deepEqual(JSON.parse(JSON.stringify(others.body).replaceAll(id, "none")), none.body, prefix);
    });
  }

  test("a path that is not there says so to those who have a key alone", async () => {
    assert.equal((await gateway.http.get("/v1/nothing")).status, 401);
    assert.equal((await as(BOB, gateway.http.get("/v1/nothing"))).status, 404);
  });

  test("two keys of one name see the same things", async () => {
    const { http } = gateway;
    const path = `/v1/generations/${ids["/v1/generations/"]}`;
    const [one, two] = [await as(ANN, http.get(path)), await as(ANN_TOO, http.get(path))];
    assert.equal(one.status, 200);
    assert.deepEqual(two.body, one.body);
  });

  test("lists hold what is the key's own", async () => {
    const lists = ROUTES.filter(
      ({ method, path }) =>
        method === "get" && ["/v1/generations", "/v1/trainings", "/v1/webhooks/deliveries"].includes(path),
    );
    for (const { path } of lists) {
      assert.equal(conforms(await as(ANN, gateway.http.get(path))).body.data.length, 1, path);
      assert.deepEqual(conforms(await as(BOB, gateway.http.get(path))).body.data, [], path);
    }
    const ofAnns = await as(BOB, gateway.http.get(`/v1/webhooks/deliveries?generation=${ids["/v1/generations/"]}`));
    assert.deepEqual(ofAnns.body.data, []);
  });

  test("another key's upload cannot be named in a request", async () => {
    const body = { prompt: "x", num_inference_steps: 1, image: `upload:${upload}`, strength: 1 };
    const refused = conforms(await as(BOB, gateway.http.post("/v1/generations").send(body)));
    assert.equal(refused.status, 422);
    assert.equal(refused.body.code, "unknown_upload");
    assert.equal((await as(ANN, gateway.http.post("/v1/generations").send(body))).status, 202);
  });

  test("each key's owner has a webhook secret of its own", async () => {
    const secret = async (key: string) => (await as(key, gateway.http.get("/v1/webhooks/secret"))).body.key;
    assert.equal(await secret(ANN), await secret(ANN_TOO));
    assert.notEqual(await secret(ANN), await secret(BOB));
    const before = await secret(ANN);
    await as(BOB, gateway.http.post("/v1/webhooks/secret/rotate"));
    assert.equal(await secret(ANN), before);
  });

  test("nobody without a key makes the gateway read a body", async () => {
    const answer = await gateway.http
      .post("/v1/generations")
      .send({ prompt: "x".repeat(40_000_000) })
      .catch(() => undefined);
    assert.notEqual(answer?.status, 413);
  });
});

test("RATE_LIMIT counts what changes something, by owner, and never a GET", async () => {
  const gateway = await startGateway(stack, { API_KEYS, RATE_LIMIT: "3" });
  await gateway.offer(CATALOG);
  const post = async (key: string) =>
    conforms(await as(key, gateway.http.post("/v1/generations").send({ prompt: "x" })));
  for (let i = 0; i < 10; i++) assert.equal((await as(ANN, gateway.http.get("/v1/models"))).status, 200);
  for (const key of [ANN, ANN_TOO, ANN]) assert.equal((await post(key)).status, 202);
  const refused = await post(ANN_TOO);
  assert.equal(refused.status, 429);
  assert.equal(refused.body.code, "rate_limited");
  const seconds = Number(refused.headers["retry-after"]);
  assert.ok(seconds > 0 && seconds <= 60, `Retry-After: ${seconds}`);
  assert.equal((await as(ANN, gateway.http.get("/v1/models"))).status, 200);
  assert.equal((await post(BOB)).status, 202);
  await gateway.connection.del("rate:ann"); // as when the minute is over
  assert.equal((await post(ANN)).status, 202);
});

test("MAX_JOBS_PER_KEY bounds what an owner has waiting and running, and nobody else's", async () => {
  const gateway = await startGateway(stack, { API_KEYS, MAX_JOBS_PER_KEY: "2" });
  await gateway.offer(CATALOG);
  const post = async (key: string) =>
    conforms(await as(key, gateway.http.post("/v1/generations").send({ prompt: "x" })));
  const first = await post(ANN);
  assert.deepEqual([first.status, (await post(ANN_TOO)).status], [202, 202]);
  const refused = await post(ANN);
  assert.equal(refused.status, 429);
  assert.ok(Number(refused.headers["retry-after"]) > 0);
  assert.equal((await post(BOB)).status, 202);
  assert.equal((await as(ANN, gateway.http.post(`/v1/generations/${first.body.id}/cancel`))).status, 202);
  assert.equal((await post(ANN)).status, 202);
});

test("API_KEYS_FILE holds hashes, and its keys count beside those of API_KEYS", async () => {
  const folder = await temporaryFolder(stack);
  const sha256 = createHash("sha256").update("the-key-of-the-file").digest("hex");
  await writeFile(`${folder}/keys.json`, JSON.stringify([{ name: "file", sha256 }]));
  const gateway = await startGateway(stack, { API_KEYS: `ann:${ANN}`, API_KEYS_FILE: `${folder}/keys.json` });
  for (const [key, status] of [
    [ANN, 200],
    ["the-key-of-the-file", 200],
    [sha256, 401],
  ] as const) {
    assert.equal((await as(key, gateway.http.get("/v1/schedulers"))).status, status);
  }
});
