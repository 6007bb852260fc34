import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Worker } from "bullmq";
import { connectPatiently, GenerationQueue, QUEUE } from "../src/queue.ts";
import { claim, requestCancel, submit } from "../src/record.ts";
import { GenerationRequest } from "../src/schema.ts";
import { startRedis, until } from "./service/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const REQUEST = GenerationRequest.parse({
  model: "base",
  prompt: "",
  width: 64,
  height: 64,
  scheduler: "ddim",
  seed: 7,
  controls: [],
  image: null,
  mask_image: null,
  strength: null,
});

/** A queue whose generations are called by their owner and a number, with a worker that only says whose turn it is. */
async function startQueue() {
  const { url } = await startRedis(stack);
  const queue = new GenerationQueue(url, () => {});
  const redis = connectPatiently(url);
  await until("the queue to have Redis", () => queue.ask((redis) => redis.ping()).catch(() => undefined));
  stack.defer(async () => {
    await queue.close();
    redis.disconnect();
  });
  const counts = new Map<string, number>();
  const submitted = async (owner: string, priority = 0) => {
    const n = (counts.get(owner) ?? 0) + 1;
    counts.set(owner, n);
    const id = `${owner}${n}`;
    assert.equal((await queue.submit(id, { ...REQUEST, priority }, owner)).outcome, "accepted");
    return id;
  };
  const worker = new Worker(QUEUE, null, { connection: redis });
  stack.defer(() => worker.close());
  return {
    redis,
    /** Adds so many of an owner. */
    add: async (owner: string, count: number, priority = 0) => {
      for (let i = 0; i < count; i++) await submitted(owner, priority);
    },
    /** Takes so many, one after the other, and says which. */
    async take(count: number) {
      const taken: string[] = [];
      for (let i = 0; i < count; i++) {
        const job = await worker.getNextJob("token", { block: false });
        if (job === undefined) break;
        await claim(redis, job.id!);
        await job.moveToCompleted(undefined, "token", false);
        taken.push(job.id!);
      }
      return taken.join(" ");
    },
  };
}

test("an owner with many waiting yields to one with few, who come in turn, each in the order of asking", async () => {
  const { add, take } = await startQueue();
  await add("a", 100);
  assert.equal(await take(3), "a1 a2 a3");
  await add("b", 2);
  await add("c", 1);
  assert.match(await take(5), /^(b1 c1 a4|a4 b1 c1|b1 a4 c1) (a5 b2|b2 a5)$/);
  assert.equal(await take(1), "a6");
});

test("nobody is kept waiting for ever by one who comes again and again", async () => {
  const { add, take } = await startQueue();
  await add("a", 10);
  const taken = [];
  for (let i = 0; i < 20; i++) {
    await add("b", 1);
    taken.push(await take(1));
  }
  const ofA = taken.filter((id) => id.startsWith("a"));
  assert.equal(ofA.length, 10, taken.join(" "));
});

test("whoever cancels the last of many puts nobody behind it", async () => {
  const { redis, add, take } = await startQueue();
  await add("a", 20);
  await requestCancel(redis, "a20");
  await add("b", 1);
  assert.match(await take(2), /b1/);
});

test("a lower number of priority comes first, whoever asks", async () => {
  const { add, take } = await startQueue();
  await add("a", 2, 9);
  await add("a", 2, 5);
  await add("b", 2, 5);
  await add("a", 1, 0);
  assert.match(await take(7), /^a5 (a3 b1|b1 a3) (a4 b2|b2 a4) a1 a2$/);
});

test("when nobody waits the turns begin again", async () => {
  const { redis, add, take } = await startQueue();
  await add("a", 3);
  await take(3);
  assert.deepEqual(await redis.hgetall("generations:turns"), {});
});

test("an owner may have so many that wait or run at once, and then no more", async () => {
  const { redis } = await startQueue();
  const ask = async (id: string, owner: string) =>
    (await submit(redis, id, REQUEST, owner, { mostOfOwner: 2 })).outcome;
  assert.equal(await ask("1", "a"), "accepted");
  assert.equal(await ask("2", "a"), "accepted");
  assert.equal(await ask("3", "a"), "busy");
  await claim(redis, "1");
  assert.equal(await ask("3", "a"), "busy", "one that runs counts too");
  assert.equal(await ask("3", "b"), "accepted");
});
