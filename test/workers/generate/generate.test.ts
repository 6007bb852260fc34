import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Redis } from "ioredis";
import { OWNER_WITHOUT_KEYS } from "../../../src/config/api-keys.ts";
import { readConfig } from "../../../src/config/config.ts";
import { claimJob, finish } from "../../../src/jobs/attempt.ts";
import { BEGINNING, type JobEvent, readEvents } from "../../../src/jobs/events.ts";
import { type GenerationRecord, generation } from "../../../src/jobs/generation.ts";
import { JobQueue } from "../../../src/jobs/queue.ts";
import { hasEnded } from "../../../src/jobs/record.ts";
import { connectPatiently } from "../../../src/redis/connection.ts";
import { GenerationRequest } from "../../../src/schema/generation-request.ts";
import { startWorker } from "../../../workers/generate/worker.ts";
import { log } from "../../support/gateway.ts";
import { picturesFor } from "../../support/pace.ts";
import { dataFolder, kill, startNode, startRedis, until } from "../../support/processes.ts";
import { REQUEST as SMALL } from "../../support/queue.ts";
import { SD15 } from "../../support/tiny.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const REQUEST: GenerationRequest = { ...SMALL, prompt: "a red house by the sea", num_inference_steps: 2 };
/** Some seconds of work. */
const LONG: GenerationRequest = { ...REQUEST, num_inference_steps: 150, width: 128, height: 128 };

async function startQueue(env: Record<string, string> = {}) {
  const redis = await startRedis(stack);
  const settings = { EXECUTION_PROVIDER: "cpu", DATA_DIR: await dataFolder(stack), ...env };
  const config = { ...readConfig(settings), REDIS_URL: redis.url };
  const queue = new JobQueue(redis.url, () => {});
  const connection = connectPatiently(redis.url);
  connection.on("error", () => {}); // it goes and comes back
  await connection.ping();
  await until("the queue to have Redis", () => queue.ask((redis) => redis.ping()).catch(() => undefined));
  stack.defer(async () => {
    await queue.close();
    connection.disconnect();
  });
  return {
    config,
    redis,
    queue,
    connection,
    /** A worker as a process of its own. */
    work: () =>
      startNode(stack, "workers/generate/main.ts", {
        ...settings,
        REDIS_URL: redis.url,
        MODELS_DIR: SD15,
      }),
    ended: (id: string) =>
      until(
        `the end of ${id}`,
        async () => {
          const record = await queue.read(generation, id, OWNER_WITHOUT_KEYS);
          return record && hasEnded(record) ? record : undefined;
        },
        60_000,
      ),
    processing: (id: string, step: number) =>
      until(`step ${step} of ${id}`, async () => {
        const { status, progress } = (await queue.read(generation, id, OWNER_WITHOUT_KEYS))!;
        return status === "processing" && progress.step >= step;
      }),
  };
}

/** The hashes of the pictures, and the steps that were told of, each with the picture it was on its way to. */
async function results(connection: Redis, id: string) {
  const events: JobEvent[] = [];
  for (let last = BEGINNING; ; last = events.at(-1)!.id) {
    const more = await readEvents(connection, id, last);
    if (more.length === 0) break;
    events.push(...more);
  }
  const { images } = events.at(-1)!.data as GenerationRecord;
  return { pictures: images.map(({ sha256 }) => sha256), told: events.map(({ id, event }) => `${id} ${event}`) };
}

test("a worker that is killed in the middle loses nothing: within 10 s the next one goes on from a saved step, to the same bytes", async (t) => {
  const { queue, work, processing, ended, connection } = await startQueue();
  const first = work();
  await queue.submit("gen_measured", { ...LONG, num_inference_steps: 10 });
  const { metrics } = await ended("gen_measured");
  const num_images = picturesFor(3, metrics.steps_per_second ?? null); // on a quick machine more: it is saved each second
  const request: GenerationRequest = { ...LONG, num_images, scheduler: "dpmpp_2m_sde_karras" };
  await queue.submit("gen_killed", request);
  await processing("gen_killed", 1);
  const second = work(); // its own start is not counted
  const saved = await until("a saved step", () => connection.hget("generation:gen_killed", "saved_step"));
  await processing("gen_killed", Number(saved) + 2);
  await until("the next worker", async () => second.output.includes("takes jobs"));
  await kill(first.child, "SIGKILL");
  const killed = Date.now();
  await until("the second attempt", async () => (await connection.hget("generation:gen_killed", "attempt")) === "2");
  const seconds = (Date.now() - killed) / 1000;
  assert.ok(seconds < 10, `it took ${seconds} s`);
  assert.equal((await ended("gen_killed")).status, "succeeded");
  const from = Number(/"from_step":(\d+)/.exec(second.output)![1]);
  const steps = Number(/"steps":(\d+)/.exec(second.output)![1]);
  assert.equal(from + steps, 150, "it made the other steps and no more");
  t.diagnostic(`taken over after ${seconds} s, from step ${from}`);
  assert.ok(from >= Number(saved), `it began at step ${from}, ${saved} was saved`);
  await queue.submit("gen_alone", request);
  await ended("gen_alone");
  assert.deepEqual(await results(connection, "gen_killed"), await results(connection, "gen_alone"));
  await kill(second.child, "SIGKILL"); // the next one needs the processor
});

test("a worker that is asked to stop hands its generation back at once, and the next one makes it", async () => {
  const { queue, work, processing, ended, connection } = await startQueue();
  const first = work();
  await queue.submit("gen_back", LONG);
  await processing("gen_back", 2);
  await kill(first.child, "SIGTERM");
  assert.equal(first.child.exitCode, 0);
  assert.notEqual(await connection.zscore("bull:generations:prioritized", "gen_back"), null);
  assert.equal((await queue.read(generation, "gen_back", OWNER_WITHOUT_KEYS))?.status, "processing");
  work();
  assert.equal((await ended("gen_back")).status, "succeeded");
});

test("a worker that is asked to stop while Redis is away stops all the same", async () => {
  const { work, redis } = await startQueue();
  const worker = work();
  await until("it to take jobs", async () => worker.output.includes("takes jobs"));
  await redis.stop();
  const asked = Date.now();
  await kill(worker.child, "SIGTERM");
  assert.ok(Date.now() - asked < 10_000);
});

test("rolling restarts are no deaths: a generation may be handed back more often than workers may die over it", async () => {
  const { queue, work, processing, ended } = await startQueue({ MAX_TAKEOVERS: "0" });
  await queue.submit("gen_rolled", LONG);
  for (const step of [2, 4]) {
    const worker = work();
    await processing("gen_rolled", step);
    await kill(worker.child, "SIGTERM");
  }
  work();
  assert.equal((await ended("gen_rolled")).status, "succeeded");
});

test("a worker hears of a cancel within a step, on the channel or from the record", async (t) => {
  const { queue, work, processing, ended, connection } = await startQueue();
  work();
  await queue.submit("gen_heard", LONG);
  await processing("gen_heard", 2);
  const asked = Date.now();
  assert.equal(await queue.cancel("gen_heard"), "processing");
  assert.equal((await ended("gen_heard")).status, "canceled");
  t.diagnostic(`canceled after ${Date.now() - asked} ms`);
  await queue.submit("gen_marked", LONG);
  await processing("gen_marked", 2);
  await connection.hset("generation:gen_marked", "cancel_requested", "now"); // as if the message had been lost
  assert.equal((await ended("gen_marked")).status, "canceled");
  assert.equal(await queue.cancel("gen_marked"), "ended");
});

test("a generation that runs out of time fails with the reason, and the worker goes on", async () => {
  const { queue, work, ended } = await startQueue({ RUN_TIMEOUT: "1" });
  work();
  await queue.submit("gen_slow", { ...LONG, num_images: 8 });
  const { status, error } = await ended("gen_slow");
  assert.equal(status, "failed");
  assert.deepEqual(error, { code: "timed_out", message: "it was not done after 1 s" });
  await queue.submit("gen_quick", { ...REQUEST, num_inference_steps: 1 });
  assert.equal((await ended("gen_quick")).status, "succeeded");
});

test("a worker whose engine thread dies says so and leaves the generation to the next one", async () => {
  const { queue, config } = await startQueue();
  const { promise: death, resolve } = Promise.withResolvers<Error>();
  const worker = await startWorker(config, new URL("../../support/dying-engine.ts", import.meta.url), log, resolve);
  await queue.submit("gen_poison", REQUEST);
  assert.match((await death).message, /out of memory/);
  assert.equal((await queue.read(generation, "gen_poison", OWNER_WITHOUT_KEYS))?.status, "processing");
  await worker.close();
});

test("a generation that has killed too many workers fails with the reason", async () => {
  const { queue, connection, work, ended } = await startQueue({ MAX_TAKEOVERS: "2" });
  await queue.submit("gen_poison", REQUEST);
  for (let worker = 0; worker < 3; worker++) assert.ok(await claimJob(connection, "gen_poison"));
  work();
  const { status, error } = await ended("gen_poison");
  assert.equal(status, "failed");
  assert.deepEqual(error, { code: "worker_died", message: "given up: 3 workers died over it" });
});

test("a worker that was taken for dead cannot overwrite what the one after it made", async () => {
  const { queue, connection } = await startQueue();
  await queue.submit("gen_twice", REQUEST);
  const slow = await claimJob(connection, "gen_twice");
  const quick = await claimJob(connection, "gen_twice");
  assert.equal(await finish(connection, slow!, { status: "canceled" }), null);
  assert.equal(await finish(connection, quick!, { status: "failed", error: { code: "quick", message: "" } }), "failed");
  assert.equal(await finish(connection, slow!, { status: "canceled" }), null);
  assert.equal((await queue.read(generation, "gen_twice", OWNER_WITHOUT_KEYS))?.error?.code, "quick");
  assert.equal(await claimJob(connection, "gen_twice"), undefined);
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
