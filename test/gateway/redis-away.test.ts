import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Problem } from "../../src/schema/problem.ts";
import { conforms } from "../support/conforms.ts";
import { CATALOG, startGateway } from "../support/gateway.ts";
import { until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

test("without Redis every request that needs it gets 503 at once; when Redis is back the service goes on by itself", async () => {
  const gateway = await startGateway(stack);
  await gateway.work();
  const body = { prompt: "x", num_inference_steps: 1 };
  const before = (await gateway.http.post("/v1/generations").set("Prefer", "wait=60").send(body)).body;
  assert.equal(before.status, "succeeded");

  await gateway.redis.stop();
  const path = `/v1/generations/${before.id}`;
  for (const request of [
    gateway.http.post("/v1/generations").send(body),
    gateway.http.get(path),
    gateway.http.get("/v1/models"),
    gateway.http.get("/ready"),
  ]) {
    const answer = conforms(await request);
    assert.equal(answer.status, 503);
    assert.match(answer.body.detail, /Redis is away/); // and not that it has not answered for so long: nobody has waited
    assert.equal(answer.headers["retry-after"], "1");
  }
  assert.equal(conforms(await gateway.http.get("/health")).status, 200);

  await gateway.redis.start();
  await until("ready again", async () => (await gateway.http.get("/ready")).status === 200);
  assert.deepEqual((await gateway.http.get(path)).body, before);
  const later = (await gateway.http.post("/v1/generations").set("Prefer", "wait=60").send(body)).body;
  assert.equal(later.status, "succeeded");
});

test("a gateway that starts before its Redis answers 503, and takes requests when Redis comes", async () => {
  const gateway = await startGateway(stack);
  await gateway.redis.stop();
  assert.equal((await gateway.http.get("/ready")).status, 503);
  await gateway.redis.start();
  const answer = await until("an answer of Redis", async () => {
    const { body } = await gateway.http.get("/ready");
    return /Redis/.test(body.detail) ? undefined : body;
  });
  assert.match(answer.detail, /no worker is running/);
});

test("a client that waits while Redis goes and comes back gets its generation", async () => {
  const gateway = await startGateway(stack);
  await gateway.work();
  const waiting = gateway.http
    .post("/v1/generations")
    .set("Prefer", "wait=60")
    .send({ prompt: "x", num_inference_steps: 100, scheduler: "heun", width: 128, height: 128 })
    .then((answer) => answer.body);
  const running = async () => (await gateway.connection.keys("generation:*")).length === 1;
  await until("the generation to run", running);
  await gateway.redis.stop();
  await gateway.redis.start();
  const generation = await waiting;
  assert.equal(generation.status, "succeeded");
});

test("a Redis that is full is told as that, with 503; an answer of Redis that is a fault of the service, as 500", async () => {
  const gateway = await startGateway(stack);
  await gateway.offer(CATALOG);
  await gateway.connection.config("SET", "maxmemory", "1");
  const refused = conforms(await gateway.http.post("/v1/generations").send({ prompt: "x" }));
  assert.equal(refused.status, 503);
  assert.match(refused.body.detail, /Redis' memory is nearly full/);
  await gateway.connection.config("SET", "maxmemory", "0");
  await until("room to be seen again", async () => {
    const answer = conforms(await gateway.http.post("/v1/generations").send({ prompt: "x" }));
    return answer.status === 202;
  });

  await gateway.connection.multi().del("catalog").lpush("catalog", "not a text").exec();
  const answer = await fetch(`${gateway.config.PUBLIC_URL}/v1/models`);
  assert.deepEqual([answer.status, ((await answer.json()) as Problem).code], [500, "internal"]);
});
