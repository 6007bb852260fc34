/** What one owner may take of Redis and of the queue, and what becomes of the others meanwhile. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import supertest from "supertest";
import { ownedKey } from "../../src/jobs/keys.ts";
import { KINDS } from "../../src/jobs/kinds.ts";
import { script } from "../../src/redis/script.ts";
import type { Generation } from "../../src/schema/generation.ts";
import { conforms } from "../support/conforms.ts";
import { CATALOG, startGateway } from "../support/gateway.ts";
import { until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const [ANN, BOB, EVE] = ["a", "b", "e"].map((letter) => letter.repeat(20));
const API_KEYS = `ann:${ANN},bob:${BOB},eve:${EVE}`;
const png = readFileSync(new URL("../fixtures/image/decode/rgb.png", import.meta.url));
const image = `data:image/png;base64,${png.toString("base64")}`;
const MEGABYTE = 2 ** 20;

type Gateway = Awaited<ReturnType<typeof startGateway>>;
const agentOf = ({ config }: Gateway, key = ANN) =>
  supertest.agent(config.PUBLIC_URL).set("Authorization", `Bearer ${key}`);
type Agent = ReturnType<typeof agentOf>;

const gateway = await startGateway(stack, { API_KEYS, MAX_KEPT_PER_KEY: "5", ALLOW_HOSTS: "10.0.0.1" });
await gateway.offer(CATALOG);
const { connection } = gateway;
const ann = agentOf(gateway);

const make = async (http: Agent, more: object = {}) =>
  conforms(await http.post("/v1/generations").send({ prompt: "x", ...more }));
const cancel = async (http: Agent, id: string) => conforms(await http.post(`/v1/generations/${id}/cancel`));
const list = async (http: Agent) => (await http.get("/v1/generations?limit=100")).body.data as Generation[];

test("a request is kept once, whatever happens to its job and whoever is told of it", async (t) => {
  const prompt = "雪".repeat(10_000);
  const size = Buffer.byteLength(prompt);
  const webhook = { url: "https://10.0.0.1/", events: ["started", "canceled"] };
  const { id } = (await make(ann, { prompt, webhook })).body as Generation;
  await cancel(ann, id);
  let bytes = 0;
  for (const key of (await connection.keys("*")).filter((key) => key.includes(id.slice("gen_".length)))) {
    bytes += Number(await connection.memory("USAGE", key, "SAMPLES", 0));
  }
  t.diagnostic(`a request of 30 kB, canceled, with a webhook: ${(bytes / 1000).toFixed(0)} kB in Redis`);
  assert.ok(bytes < 1.5 * size, `${bytes} bytes`);
  const events = (await ann.get(`/v1/generations/${id}/events`)).text;
  assert.equal(events.split(prompt).length - 1, 2, "queued and canceled show the request all the same");
});

test("a cancel that is sent again with its Idempotency-Key is answered by what there is, and by 404 when that is deleted", async () => {
  const { id } = (await make(ann, { prompt: "secret words" })).body as Generation;
  const again = async () =>
    conforms(await ann.post(`/v1/generations/${id}/cancel`).set("Idempotency-Key", "once more"));
  const first = await again();
  assert.equal(first.status, 202);
  const second = await again();
  assert.deepEqual([second.status, second.body], [202, first.body]);
  await ann.delete(`/v1/generations/${id}`);
  const gone = await again();
  assert.deepEqual([gone.status, gone.text.includes("secret words")], [404, false]);
  for (const key of await connection.keys("idempotency:*:answer:*")) {
    assert.doesNotMatch((await connection.get(key))!, /secret words/);
  }
});

test("of an owner's jobs so many are kept: the oldest that have ended go, and with them all that was theirs", async () => {
  const made: string[] = [];
  for (let i = 0; i < 8; i++) {
    const { id } = (await make(ann).then(({ body }) => body)) as Generation;
    made.push(id);
    await cancel(ann, id);
  }
  assert.deepEqual((await list(ann)).map(({ id }) => id).reverse(), made.slice(3));
  const keys = await connection.keys("*");
  assert.deepEqual(
    keys.filter((key) => key.includes(made[0]!)),
    [],
  );
  for (let i = 0; i < 5; i++) assert.equal((await make(ann)).status, 202);
  const { status, body } = await make(ann);
  assert.deepEqual([status, body.code], [429, "too_many_jobs"]);
  for (const { id } of await list(ann)) await cancel(ann, id);
});

test("the bytes of an owner's requests are bounded too, by a quarter of what Redis may use", async () => {
  const prompt = "雪".repeat(10_000);
  const roomy = await startGateway(stack);
  await roomy.offer(CATALOG);
  await roomy.connection.config("SET", "maxmemory", 8 * MEGABYTE);
  const http = supertest.agent(roomy.config.PUBLIC_URL);
  for (let i = 0; i < 50; i++) {
    const { status, body } = await make(http, { prompt, negative_prompt: prompt });
    assert.equal(status, 202);
    await cancel(http, body.id);
  }
  const kept = await roomy.connection.zcard(ownedKey(KINDS.generation, "default"));
  assert.ok(kept > 25 && kept * 2 * Buffer.byteLength(prompt) < 2 * MEGABYTE, `${kept} kept`);
});

test("when Redis' memory is nearly full, new work is refused with 503; what was accepted can be read, and ended", async () => {
  const { id } = (await make(ann)).body as Generation;
  const used = Number(/used_memory:(\d+)/.exec(await connection.info("memory"))![1]);
  await connection.config("SET", "maxmemory", Math.round(1.2 * used));
  await until("the bound to be seen", async () => (await make(ann)).status === 503);
  const refused = await make(ann);
  assert.match(refused.body.detail, /Redis' memory is nearly full/);
  assert.equal(refused.headers["retry-after"], "1");
  assert.equal((await cancel(ann, id)).body.status, "canceled");
  await connection.config("SET", "maxmemory", 0);
  await until("room again", async () => (await make(ann)).status === 202);
});

test("a Redis without any memory left does nothing by half: a cancel is refused, and done when there is some", async () => {
  const [{ id } = { id: "" }] = (await list(ann)).filter(({ status }) => status === "queued");
  const queued = () => connection.zscore("generations:queued", id);
  await connection.config("SET", "maxmemory", 1);
  assert.equal((await cancel(ann, id)).status, 503);
  assert.notEqual(await queued(), null);
  await connection.config("SET", "maxmemory", 0);
  assert.equal((await cancel(ann, id)).body.status, "canceled");
  assert.equal(await queued(), null);
});

test("who fills the queue keeps nobody out: others come in up to an equal share, and all up to twice the bound", async () => {
  const small = await startGateway(stack, { API_KEYS, MAX_QUEUE: "6" });
  await small.offer(CATALOG);
  let trainings = 0;
  const bodies: Record<string, () => object> = {
    generations: () => ({ prompt: "x" }),
    annotations: () => ({ annotator: "canny", image }),
    trainings: () => ({ base: "base", name: `t${trainings++}`, dataset: "folder:circles", max_train_steps: 1 }),
  };
  for (const [kind, body] of Object.entries(bodies)) {
    const statuses = async (key: string | undefined, count: number) => {
      const all: number[] = [];
      for (let i = 0; i < count; i++) {
        const answer = conforms(await agentOf(small, key).post(`/v1/${kind}`).send(body()));
        all.push(answer.status);
        if (answer.status !== 429) continue;
        assert.deepEqual([answer.body.code, answer.headers["retry-after"]], ["queue_full", "5"]);
        assert.match(answer.body.detail, new RegExp(`as many ${kind} wait as may .MAX_QUEUE=6.`));
      }
      return all;
    };
    assert.deepEqual(await statuses(ANN, 7), [202, 202, 202, 202, 202, 202, 429]);
    assert.deepEqual(await statuses(BOB, 4), [202, 202, 202, 429]);
    assert.deepEqual(await statuses(EVE, 3), [202, 202, 429]);
  }
});

test("the sweep keeps up: thousands that are over are gone within seconds", async (t) => {
  const swept = await startGateway(stack, { RESULT_TTL: "1" });
  await swept.offer(CATALOG);
  const { id } = (await make(supertest.agent(swept.config.PUBLIC_URL))).body as Generation;
  await cancel(supertest.agent(swept.config.PUBLIC_URL), id);
  const fields = await swept.connection.hgetall(`generation:${id}`);
  const copies = Array.from({ length: 3000 }, (_, i) => `${id}${i}`);
  const filling = swept.connection.pipeline();
  for (const copy of copies) filling.hset(`generation:${copy}`, fields).zadd("generations:ended", 1, copy);
  await filling.exec();
  const begun = performance.now();
  await until("their removal", async () => (await swept.connection.zcard("generations:ended")) === 0);
  t.diagnostic(`3000 records removed after ${((performance.now() - begun) / 1000).toFixed(1)} s`);
  assert.deepEqual(await swept.connection.keys("generation:*"), []);
});

test("Redis says the time as JavaScript does", async () => {
  const days = [0, 951_782_400_000, 1_709_164_799_999, 1_798_675_200_123, 4_102_444_800_000, 978_307_199_001];
  const run = script(new URL("../fixtures/iso.lua", import.meta.url));
  for (const ms of days) assert.equal(await run(connection, ["any"], ms), new Date(ms).toISOString());
});

test("a page of long requests is shorter, and the next one goes on where it ends", async () => {
  const eve = agentOf(gateway, EVE);
  const long = "雪".repeat(10_000);
  const made: string[] = [];
  for (let n = 0; n < 5; n++) made.push((await make(eve, { prompt: long, negative_prompt: long })).body.id);
  const first = conforms(await eve.get("/v1/generations?limit=100")).body;
  const second = conforms(await eve.get(`/v1/generations?limit=100&cursor=${first.next_cursor}`)).body;
  const ids = [first, second].map(({ data }) => data.map(({ id }: Generation) => id));
  assert.deepEqual([ids[0].length, ids.flat(), second.next_cursor], [4, made.reverse(), null]);
});
