import assert from "node:assert/strict";
import { after, test } from "node:test";
import { NOISE_MODELS_DIR, readConfig } from "../../src/config.ts";
import { connectPatiently, GenerationQueue, OWNER_WITHOUT_KEYS } from "../../src/queue.ts";
import { claim, finish, type GenerationRecord, hasEnded } from "../../src/record.ts";
import { GenerationRequest } from "../../src/schema.ts";
import { startWorker } from "../../workers/generate.ts";
import { log } from "../gateway/gateway.ts";
import { kill, startNode, startRedis, temporaryFolder, until } from "../service/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const REQUEST = GenerationRequest.parse({
  model: "base",
  prompt: "a red house by the sea",
  width: 64,
  height: 64,
  num_inference_steps: 2,
  scheduler: "ddim",
  seed: 7,
  controls: [],
  image: null,
  mask_image: null,
  strength: null,
});
/** Some seconds of work. */
const LONG: GenerationRequest = { ...REQUEST, num_inference_steps: 150, width: 128, height: 128 };

async function startQueue(env: Record<string, string> = {}) {
  const redis = await startRedis(stack);
  const settings = { EXECUTION_PROVIDER: "cpu", DATA_DIR: await temporaryFolder(stack), ...env };
  const config = { ...readConfig(settings), REDIS_URL: redis.url };
  const queue = new GenerationQueue(redis.url, () => {});
  const connection = connectPatiently(redis.url);
  await connection.ping();
  stack.defer(async () => {
    await queue.close();
    connection.disconnect();
  });
  return {
    config,
    queue,
    connection,
    /** A worker as a process of its own. */
    work: () =>
      startNode(stack, "workers/generate.ts", {
        ...settings,
        REDIS_URL: redis.url,
        MODELS_DIR: NOISE_MODELS_DIR,
      }),
    ended: (id: string) =>
      until(`the end of ${id}`, async () => {
        const record = await queue.read(id, OWNER_WITHOUT_KEYS);
        return record && hasEnded(record) ? record : undefined;
      }),
    processing: (id: string, step: number) =>
      until(`step ${step} of ${id}`, async () => {
        const { status, progress } = (await queue.read(id, OWNER_WITHOUT_KEYS)) as GenerationRecord;
        return status === "processing" && progress.step >= step;
      }),
  };
}

test("a worker that is killed in the middle loses nothing: the next one runs its generation within 10 s", async () => {
  const { queue, work, processing, ended, connection } = await startQueue();
  const first = work();
  await queue.submit("gen_killed", LONG);
  await processing("gen_killed", 5);
  work();
  await kill(first.child, "SIGKILL");
  const killed = Date.now();
  await until("the second attempt", async () => (await connection.hget("generation:gen_killed", "attempt")) === "2");
  const seconds = (Date.now() - killed) / 1000;
  assert.ok(seconds < 10, `it took ${seconds} s`);
  assert.equal((await ended("gen_killed")).status, "succeeded");
});

test("a worker that is asked to stop hands its generation back at once, and the next one makes it", async () => {
  const { queue, work, processing, ended, connection } = await startQueue();
  const first = work();
  await queue.submit("gen_back", LONG);
  await processing("gen_back", 2);
  await kill(first.child, "SIGTERM");
  assert.equal(first.child.exitCode, 0);
  assert.deepEqual(await connection.lrange("bull:generations:wait", 0, -1), ["gen_back"]);
  assert.equal((await queue.read("gen_back", OWNER_WITHOUT_KEYS))?.status, "processing");
  work();
  assert.equal((await ended("gen_back")).status, "succeeded");
});

test("a worker whose engine thread dies says so and leaves the generation to the next one", async () => {
  const { queue, config } = await startQueue();
  const { promise: death, resolve } = Promise.withResolvers<Error>();
  const worker = await startWorker(config, new URL("./dying-engine.ts", import.meta.url), log, resolve);
  await queue.submit("gen_poison", REQUEST);
  assert.match((await death).message, /out of memory/);
  assert.equal((await queue.read("gen_poison", OWNER_WITHOUT_KEYS))?.status, "processing");
  await worker.close();
});

test("a generation that has killed too many workers fails with the reason", async () => {
  const { queue, connection, work, ended } = await startQueue({ MAX_TAKEOVERS: "2" });
  await queue.submit("gen_poison", REQUEST);
  for (let worker = 0; worker < 3; worker++) assert.ok(await claim(connection, "gen_poison"));
  work();
  const { status, error } = await ended("gen_poison");
  assert.equal(status, "failed");
  assert.deepEqual(error, { code: "worker_died", message: "given up: 3 workers died over it" });
});

test("a worker that was taken for dead cannot overwrite what the one after it made", async () => {
  const { queue, connection } = await startQueue();
  await queue.submit("gen_twice", REQUEST);
  const slow = await claim(connection, "gen_twice");
  const quick = await claim(connection, "gen_twice");
  assert.equal(await finish(connection, slow!, { status: "canceled" }), false);
  assert.equal(await finish(connection, quick!, { status: "failed", error: { code: "quick", message: "" } }), true);
  assert.equal(await finish(connection, slow!, { status: "canceled" }), false);
  assert.equal((await queue.read("gen_twice", OWNER_WITHOUT_KEYS))?.error?.code, "quick");
  assert.equal(await claim(connection, "gen_twice"), undefined);
});

test("what the engine cannot do fails with its reason, and the worker goes on", async () => {
  const { queue, work, ended } = await startQueue();
  work();
  await queue.submit("gen_wrong", { ...REQUEST, model: "gone" });
  const { status, error } = await ended("gen_wrong");
  assert.equal(status, "failed");
  assert.match(error!.message, /"gone"/);
  const hash = `sha256:${"0".repeat(64)}`;
  const controls = [{ controlnet: "canny", image: hash, mask: null }];
  await queue.submit("gen_lost", GenerationRequest.parse({ ...REQUEST, controls }));
  assert.equal((await ended("gen_lost")).error?.code, "internal");
  await queue.submit("gen_right", REQUEST);
  assert.equal((await ended("gen_right")).status, "succeeded");
});

test("the record of an accepted generation does not expire", async () => {
  const { queue, connection } = await startQueue();
  await queue.submit("gen_kept", REQUEST);
  assert.equal(await connection.ttl("generation:gen_kept"), -1);
});
