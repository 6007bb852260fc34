/** A training that has had its turn goes on after the trainings of other owners that wait. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Worker } from "bullmq";
import { claimJob, giveWay, keepWorked } from "../../src/jobs/attempt.ts";
import { recordKey } from "../../src/jobs/keys.ts";
import { KINDS } from "../../src/jobs/kinds.ts";
import { JobQueue, queueName } from "../../src/jobs/queue.ts";
import type { TrainingRecord } from "../../src/jobs/training.ts";
import { connectPatiently } from "../../src/redis/connection.ts";
import { TrainingInput, type TrainingRequest } from "../../src/schema/training-request.ts";
import { startRedis, until } from "../support/processes.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const { url } = await startRedis(stack);
const queue = new JobQueue(url, () => {});
const redis = connectPatiently(url);
await until("the queue to have Redis", () => queue.ask((redis) => redis.ping()).catch(() => undefined));
const worker = new Worker(queueName(KINDS.training), null, { connection: redis });
stack.defer(async () => {
  await worker.close();
  await queue.close();
  redis.disconnect();
});

let made = 0;
async function submit(owner: string): Promise<string> {
  const id = `trn_${owner}${++made}`;
  const request = TrainingInput.parse({ base: "base", name: `n${made}`, dataset: "folder:x", max_train_steps: 10 });
  assert.equal((await queue.submit(id, request as TrainingRequest, owner)).outcome, "accepted");
  return id;
}

async function take() {
  const job = (await worker.getNextJob("token", { block: false }))!;
  const claimed = await claimJob<TrainingRecord>(redis, job.id!);
  return {
    id: job.id!,
    claimed,
    end: () => job.moveToCompleted(undefined, "token", false),
    async giveWay() {
      await job.changePriority({ priority: await giveWay(redis, claimed!) });
      await job.moveToWait("token");
    },
  };
}

test("owners take turns, whoever came first and however long their trainings are", async () => {
  const [a1, b1] = [await submit("ann"), await submit("bob")];
  const taken: string[] = [];
  for (let turn = 0; turn < 4; turn++) {
    const one = await take();
    assert.equal(await keepWorked(redis, one.claimed!, 1000 * (turn + 1)), 1, "one other owner waits");
    taken.push(one.id);
    await one.giveWay();
  }
  assert.deepEqual(taken, [a1, b1, a1, b1]);
  const c1 = await submit("eve");
  const next = [await take(), await take(), await take()];
  assert.deepEqual(new Set(next.map(({ id }) => id)), new Set([a1, b1, c1]));
  assert.equal(next.find(({ id }) => id === a1)!.claimed!.workedMs, 3000);
  assert.deepEqual(await redis.hgetall("trainings:waiting"), {});
  for (const one of next) await one.end();
});

test("one that has given way is canceled at once, and nothing of it waits any more", async () => {
  const id = await submit("ann");
  await (await take()).giveWay();
  assert.equal(await redis.hget(recordKey(id), "status"), "processing");
  assert.equal(await queue.cancel(id), "canceled");
  assert.deepEqual(await redis.hgetall("trainings:waiting"), {});
  assert.equal(await worker.getNextJob("token", { block: false }), undefined);
});
