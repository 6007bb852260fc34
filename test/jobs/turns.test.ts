/** Whose turn it is: of generations that wait, and of trainings that go on after those of other owners. */
import assert from "node:assert/strict";
import { after, beforeEach, test } from "node:test";
import { claimJob, giveWay, keepWorked } from "../../src/jobs/attempt.ts";
import { recordKey } from "../../src/jobs/keys.ts";
import { KINDS } from "../../src/jobs/kinds.ts";
import { giveUpWaiting, requestCancel } from "../../src/jobs/stop.ts";
import { submit } from "../../src/jobs/submit.ts";
import type { TrainingRecord } from "../../src/jobs/training.ts";
import { TrainingInput, TrainingRequest } from "../../src/schema/training-request.ts";
import { openQueue, REQUEST } from "../support/queue.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const { queue, redis, next, done, again } = await openQueue(stack);

/** How many each owner has made, whose generations are called by their owner and a number. */
const counts = new Map<string, number>();
beforeEach(async () => {
  await redis.flushall();
  counts.clear();
});

/** Adds so many of an owner. */
async function add(owner: string, count: number, priority = 0): Promise<void> {
  for (let i = 0; i < count; i++) {
    const n = (counts.get(owner) ?? 0) + 1;
    counts.set(owner, n);
    assert.equal((await queue.submit(`${owner}${n}`, { ...REQUEST, priority }, owner)).outcome, "accepted");
  }
}

/** Takes so many that have not ended, one after the other, and says which. */
async function take(count: number): Promise<string> {
  const taken: string[] = [];
  while (taken.length < count) {
    const job = await next(KINDS.generation);
    if (job === undefined) break;
    if ((await claimJob(redis, job.id!)) !== undefined) taken.push(job.id!);
    await done(job);
  }
  return taken.join(" ");
}

const ENDS = {
  cancel: (id: string) => queue.cancel(id),
  /** As the sweep does when it has waited too long. */
  timeOut: (id: string) => giveUpWaiting(redis, id, { code: "queue_timeout", message: "" }),
};
const { cancel } = ENDS;

/** What is kept of turns beside the records. */
const turns = async () => (await redis.keys("*turns*")).sort();

test("an owner with many waiting yields to one with few, who come in turn, each in the order of asking", async () => {
  await add("a", 100);
  assert.equal(await take(3), "a1 a2 a3");
  await add("b", 2);
  await add("c", 1);
  assert.match(await take(5), /^(b1 c1 a4|a4 b1 c1|b1 a4 c1) (a5 b2|b2 a5)$/);
  assert.equal(await take(1), "a6");
});

test("nobody is kept waiting for ever by one who comes again and again", async () => {
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
  await add("a", 20);
  await requestCancel(redis, "a20");
  await add("b", 1);
  assert.match(await take(2), /b1/);
});

test("a lower number of priority comes first, whoever asks", async () => {
  await add("a", 2, 9);
  await add("a", 2, 5);
  await add("b", 2, 5);
  await add("a", 1, 0);
  assert.match(await take(7), /^a5 (a3 b1|b1 a3) (a4 b2|b2 a4) a1 a2$/);
});

for (const end of ["cancel", "timeOut"] as const) {
  const ends = end === "cancel" ? "are canceled" : "have waited too long";

  test(`whose many ${ends} comes next with a new one, as one who has just come does`, async () => {
    await add("b", 30);
    assert.equal(await take(1), "b1");
    await add("a", 30);
    for (let n = 1; n <= 30; n++) await ENDS[end](`a${n}`);
    await add("a", 1);
    await add("c", 1);
    assert.equal(await take(3), "a31 c1 b2");
  });

  test(`whose latest ${ends} goes on behind those that still wait, in their order`, async () => {
    await add("b", 10);
    await add("a", 6);
    for (const id of ["a2", "a6", "a4", "a5"]) await ENDS[end](id);
    await add("a", 1);
    assert.equal(await take(7), "b1 a1 b2 b3 a3 b4 a7");
  });
}

test("whoever was taken in this turn does not come again in it with nothing waiting, nor by canceling what waits", async () => {
  await add("a", 4);
  const taken = [await take(1)];
  for (let n = 1; n <= 11; n += 2) {
    await add("b", 2);
    await cancel(`b${n + 1}`);
    taken.push(await take(1));
  }
  assert.equal(taken.join(" "), "a1 b1 a2 b3 a3 b5 a4");
});

test("one that is taken again, for its worker died, puts nobody behind those who wait", async () => {
  await add("a", 5);
  await take(5);
  await add("b", 3);
  assert.equal((await claimJob(redis, "a5"))?.attempt, 2);
  await add("c", 1);
  assert.equal(await take(2), "b1 c1");
});

test("what is canceled gives back its own priority's turn, and no other's", async () => {
  await add("b", 4, 5);
  await add("a", 3, 5);
  await add("b", 2, 0);
  await add("a", 2, 0);
  for (const id of ["a4", "a5"]) await cancel(id);
  await add("a", 1, 0);
  await add("a", 1, 5);
  assert.equal(await take(10), "b5 a6 b6 b1 a1 b2 a2 b3 a3 b4");
  assert.equal(await take(1), "a7");
});

test("trainings that are canceled give back turns of trainings", async () => {
  await add("a", 3);
  const training = TrainingRequest.parse({ base: "base", dataset: "folder:x", name: "x", max_train_steps: 1 });
  const rankOf = async (id: string, owner: string) => {
    const submission = await submit(redis, id, { ...training, name: id }, owner, {});
    assert.ok(submission.outcome === "accepted");
    return submission.rank;
  };
  const first = await rankOf("trn_b1", "b");
  for (const id of ["trn_a1", "trn_a2", "trn_a3"]) await rankOf(id, "a");
  for (const id of ["trn_a1", "trn_a3", "trn_a2"]) await requestCancel(redis, id);
  assert.equal(await rankOf("trn_a4", "a"), first);
  for (const id of ["trn_a4", "trn_b1"]) await requestCancel(redis, id);
  assert.deepEqual(await turns(), ["generations:turns:0:a"], "those of generations stay");
});

test("when nobody waits the turns begin again, whatever those who waited ended by", async () => {
  await add("a", 3);
  await add("b", 2, 4);
  assert.deepEqual(await turns(), ["generations:turns:0:a", "generations:turns:4:b"]);
  await take(1);
  for (const id of ["a2", "b1"]) await cancel(id);
  await ENDS.timeOut("a3");
  await take(1);
  assert.deepEqual(await turns(), []);
  await add("a", 1);
  await cancel("a4");
  assert.deepEqual(await turns(), []);
});

test("of owners with nothing waiting nothing is kept beyond the turn in which they were taken", async () => {
  await add("a", 5);
  const others = Array.from({ length: 10 }, (_, i) => `o${i}-`);
  for (const owner of others) await add(owner, 2);
  for (const owner of others) await cancel(`${owner}2`);
  await take(11);
  assert.deepEqual(await turns(), ["generations:turns:0:a", "generations:turns:served"]);
  await take(1);
  assert.deepEqual(await turns(), ["generations:turns", "generations:turns:0:a", "generations:turns:served"]);
  assert.deepEqual(await redis.zrange("generations:turns:served", "0", "-1"), ["0:a"]);
});

test("an owner may have so many that wait or run at once, and then no more", async () => {
  const ask = async (id: string, owner: string) =>
    (await submit(redis, id, REQUEST, owner, { mostOfOwner: 2 })).outcome;
  assert.equal(await ask("1", "a"), "accepted");
  assert.equal(await ask("2", "a"), "accepted");
  assert.equal(await ask("3", "a"), "busy");
  await claimJob(redis, "1");
  assert.equal(await ask("3", "a"), "busy", "one that runs counts too");
  assert.equal(await ask("3", "b"), "accepted");
});

let made = 0;
async function submitTraining(owner: string): Promise<string> {
  const id = `trn_${owner}${++made}`;
  const request = TrainingInput.parse({ base: "base", name: `n${made}`, dataset: "folder:x", max_train_steps: 10 });
  assert.equal((await queue.submit(id, request as TrainingRequest, owner)).outcome, "accepted");
  return id;
}

async function takeTraining() {
  const job = (await next(KINDS.training))!;
  const claimed = await claimJob<TrainingRecord>(redis, job.id!);
  return {
    id: job.id!,
    claimed,
    end: () => done(job),
    giveWay: async () => again(job, await giveWay(redis, claimed!)),
  };
}

test("trainings' owners take turns, whoever came first and however long their trainings are", async () => {
  const [a1, b1] = [await submitTraining("ann"), await submitTraining("bob")];
  const taken: string[] = [];
  for (let turn = 0; turn < 4; turn++) {
    const one = await takeTraining();
    assert.equal(await keepWorked(redis, one.claimed!, 1000 * (turn + 1)), 1, "one other owner waits");
    taken.push(one.id);
    await one.giveWay();
  }
  assert.deepEqual(taken, [a1, b1, a1, b1]);
  const c1 = await submitTraining("eve");
  const three = [await takeTraining(), await takeTraining(), await takeTraining()];
  assert.deepEqual(new Set(three.map(({ id }) => id)), new Set([a1, b1, c1]));
  assert.equal(three.find(({ id }) => id === a1)!.claimed!.workedMs, 3000);
  assert.deepEqual(await redis.hgetall("trainings:waiting"), {});
  for (const one of three) await one.end();
});

test("a training that has given way is canceled at once, and nothing of it waits any more", async () => {
  const id = await submitTraining("ann");
  await (await takeTraining()).giveWay();
  assert.equal(await redis.hget(recordKey(id), "status"), "processing");
  assert.equal(await queue.cancel(id), "canceled");
  assert.deepEqual(await redis.hgetall("trainings:waiting"), {});
  assert.equal(await next(KINDS.training), undefined);
});
