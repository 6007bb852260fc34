/** What whoever runs the service sees of it: the log, and the numbers for Prometheus. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { openLog } from "../../src/observe/log.ts";
import { startDeliverer } from "../../workers/deliver/worker.ts";
import { conforms } from "../support/conforms.ts";
import { CATALOG, log, startGateway } from "../support/gateway.ts";
import { until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const png = readFileSync(new URL("../fixtures/image/decode/rgb.png", import.meta.url));
const KEY = "the-key-of-ann-is-this";

/** The value of a series; undefined when it is not there. */
function seriesOf(text: string, series: string): number | undefined {
  const line = text.split("\n").find((line) => line.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

test("the log tells what was asked and what was made, and holds no key, no secret and no image", async () => {
  const lines: string[] = [];
  const loud = openLog("gateway", { LOG_LEVEL: "trace" }, { write: (line) => void lines.push(line) });
  const gateway = await startGateway(stack, { API_KEYS: `ann:${KEY}` }, loud);
  const { http, redis } = gateway;
  await gateway.offer(CATALOG);
  const authorization = `Bearer ${KEY}`;
  const image = `data:image/png;base64,${png.toString("base64")}`;
  const broken = `data:image/png;base64,${Buffer.from("not an image at all, is it?").toString("base64")}`;
  const post = (body: unknown) =>
    http
      .post("/v1/generations")
      .set("Authorization", authorization)
      .send(body as object);

  const accepted = await post({ prompt: "x", image, strength: 1 });
  assert.equal(accepted.status, 202);
  assert.equal((await post({ prompt: "x", image: broken })).status, 422);
  assert.equal((await post({ prompt: "x", imag: image })).status, 400);
  assert.equal((await post({ prompt: "x", image: image.slice(5) })).status, 400);
  assert.equal((await http.get("/v1/models").set("Authorization", `Bearer ${KEY}x`)).status, 401);
  assert.equal((await http.get(`/v1/models?key=${KEY}`)).status, 401);
  const { key: secret } = (await http.get("/v1/webhooks/secret").set("Authorization", authorization)).body;
  await gateway.connection.set("webhooks:secret:ann:previous", "x");
  await gateway.connection.del("webhooks:secret:ann");
  await gateway.connection.hset("webhooks:secret:ann", "a", "hash, where a string is looked for");
  const rotate = `${gateway.config.PUBLIC_URL}/v1/webhooks/secret/rotate`;
  assert.equal((await fetch(rotate, { method: "POST", headers: { authorization } })).status, 500);
  const refused = await gateway.connection.hset("webhooks:secret:ann", secret).catch((error) => error);
  assert.ok(JSON.stringify(refused).includes(secret), "an error of Redis holds its command");
  loud.warn({ err: refused }, "as a worker logs it");
  await redis.stop();
  assert.equal((await post({ prompt: "x", image, strength: 1 })).status, 503);
  await redis.start();

  const text = lines.join("");
  for (const [what, value] of Object.entries({ key: KEY, secret, image: png.toString("base64").slice(0, 60) })) {
    assert.equal(text.includes(value), false, `the ${what} is in ${lines.find((line) => line.includes(value))}`);
  }
  assert.doesNotMatch(text, /whsec_|base64,/);
  const entries = lines.map((line) => JSON.parse(line));
  const told = entries.find(({ msg }) => msg === "accepted");
  assert.equal(told.generation, accepted.body.id);
  assert.equal(told.owner, "ann");
  const request = entries.filter(({ reqId }) => reqId === told.reqId).map(({ msg }) => msg);
  assert.deepEqual(request, ["incoming request", "accepted", "request completed"]);
});

test("/ready says why the service cannot take work", async () => {
  const gateway = await startGateway(stack);
  const why = async () => {
    const { status, body } = await gateway.http.get("/ready");
    return [status, body.detail];
  };
  assert.deepEqual(await why(), [503, "no worker is running; try again later"]);
  await gateway.offer({ ...CATALOG, models: [] });
  assert.deepEqual(await why(), [503, "the workers found no model in MODELS_DIR; try again later"]);
  await gateway.offer(CATALOG);
  assert.deepEqual(await why(), [200, "Redis has no maxmemory: nothing is refused before its machine is full"]);
  await gateway.offer({ ...CATALOG, execution_provider: undefined as never }); // a field that another release lacks
  const another = "the workers are of another release than the gateway; try again later";
  assert.deepEqual(await why(), [503, another]);
  const refused = conforms(await gateway.http.post("/v1/generations").send({ prompt: "x" }));
  assert.deepEqual([refused.status, refused.body.detail], [503, another]);
});

test("/metrics answers the on-call's questions", async (t) => {
  const gateway = await startGateway(stack);
  const { http } = gateway;
  const scrape = async () => {
    const answer = conforms(await http.get("/metrics"));
    assert.equal(answer.status, 200);
    return answer.text;
  };

  await t.test("how many wait, and how long", async () => {
    await gateway.offer(CATALOG);
    assert.equal(seriesOf(await scrape(), "controlnet_generations_queued"), 0);
    await http.post("/v1/generations").send({ prompt: "x", num_inference_steps: 2 });
    await gateway.offer(CATALOG); // a worker lives for seconds
    const first = await scrape();
    assert.equal(seriesOf(first, "controlnet_generations_queued"), 1);
    const before = seriesOf(first, "controlnet_oldest_queued_seconds")!;
    assert.ok(before >= 0 && before < 60, `${before} s`);
    assert.ok(seriesOf(await scrape(), "controlnet_oldest_queued_seconds")! > before);
    assert.equal(seriesOf(first, "controlnet_workers_live"), 1);
    await until("the gateway's start to be counted", async () => {
      return seriesOf(await scrape(), 'controlnet_process_starts_total{role="gateway"}') === 1;
    });
  });

  await t.test(
    "how long steps and loading take on which worker, what came of it, and how much memory it has",
    async () => {
      await gateway.work();
      const text = await until("the worker's numbers", async () => {
        const text = await scrape();
        const isMeasured = /controlnet_step_seconds_count\{model="\w+",process="worker-\S+"\} 1\n/.test(text);
        const hasEnded = seriesOf(text, 'controlnet_generations_ended_total{status="succeeded"}') === 1; // is looked at before
        return isMeasured && hasEnded ? text : undefined;
      });
      assert.match(text, /controlnet_stage_seconds_count\{stage="load",model="\w+",process="worker-/);
      assert.match(text, /process_resident_memory_bytes\{process="worker-\S+"\} \d{7,}/);
      assert.match(text, /process_resident_memory_bytes\{process="gateway-\S+"\} \d{7,}/);
      assert.equal(seriesOf(text, 'controlnet_process_starts_total{role="worker"}'), 1);
      assert.match(
        text,
        /controlnet_http_request_seconds_count\{method="POST",route="\/v1\/generations",status="202",/,
      );
    },
  );

  await t.test("how late webhooks are", async () => {
    const webhook = { url: "https://localhost:9/", events: ["succeeded"] };
    const allowed = await startGateway(stack, { ALLOW_HOSTS: "localhost" });
    await allowed.work();
    const body = { prompt: "x", num_inference_steps: 1, webhook };
    const made = await allowed.http.post("/v1/generations").set("Prefer", "wait=60").send(body);
    assert.equal(made.body.status, "succeeded");
    const late = await until("a webhook that is late", async () => {
      const { text } = await allowed.http.get("/metrics");
      return seriesOf(text, "controlnet_webhooks_lag_seconds")! > 0 ? text : undefined;
    });
    assert.equal(seriesOf(late, "controlnet_webhooks_pending"), 1);
    const deliverer = startDeliverer(allowed.config, log);
    stack.defer(() => deliverer.close());
    await until("an attempt", async () => {
      const { text } = await allowed.http.get("/metrics");
      return /controlnet_webhook_attempt_seconds_count\{outcome="pending",process="deliver-/.test(text);
    });
  });

  await t.test("each name is explained once, as Prometheus wants it", async () => {
    const text = await scrape();
    const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    assert.deepEqual(names, [...new Set(names)]);
  });

  await t.test("and when Redis is away, that it is", async () => {
    await gateway.redis.stop();
    const text = await scrape();
    assert.equal(seriesOf(text, "controlnet_redis_up"), 0);
    assert.match(text, /process_resident_memory_bytes\{process="gateway-/);
    await gateway.redis.start();
  });
});
