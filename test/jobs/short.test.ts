/** What a long generation gives way to, and that nobody loses a turn by it. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { type Claim, claimJob, giveWay, handBack } from "../../src/jobs/attempt.ts";
import type { GenerationRecord } from "../../src/jobs/generation.ts";
import { recordKey, SCRIPT_NAMES } from "../../src/jobs/keys.ts";
import { KINDS } from "../../src/jobs/kinds.ts";
import { goFirst, shorterThan } from "../../src/jobs/short.ts";
import { requestCancel } from "../../src/jobs/stop.ts";
import { openQueue, REQUEST } from "../support/queue.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const { queue, redis, next, done, again } = await openQueue(stack);

/** 64 × 64 pixels at each of so many steps. */
const cost = (steps: number) => 64 * 64 * steps;
const submit = async (id: string, num_inference_steps: number, owner = "ann", priority = 0) => {
  const request = { ...REQUEST, num_inference_steps, priority };
  assert.equal((await queue.submit(`gen_${id}`, request, owner)).outcome, "accepted");
};

/** A worker takes the next one. */
async function take() {
  const job = (await next(KINDS.generation))!;
  const claimed: Claim<GenerationRecord> = (await claimJob(redis, job.id!))!;
  return {
    id: job.id!,
    claimed,
    end: () => done(job),
    giveWay: async (left: number, owed: number) => again(job, await giveWay(redis, claimed, { left, owed })),
    handBack: async () => again(job, await handBack(redis, claimed)),
  };
}
/** And has done it at once. */
async function takeWhole(): Promise<string> {
  const one = await take();
  await one.end();
  await redis.hset(recordKey(one.id), "status", "gone"); // whatever it came to
  return one.id;
}
const idOf = async (...asked: Parameters<typeof shorterThan>) => (await shorterThan(...asked))?.id;
const forget = (...ids: string[]) => redis.del(ids.map((id) => SCRIPT_NAMES.GIVING + id));

test("the most urgent, then the shortest; half as long at least, and each by one worker only", async () => {
  await submit("long", 150, "eve", 5);
  const { claimed, end } = await take();
  assert.equal(await idOf(redis, claimed, cost(150)), undefined, "nothing waits");
  await submit("lower", 1, "ann", 6);
  await submit("ten", 10, "ann", 5);
  await submit("five", 5, "ann", 5);
  assert.equal(await idOf(redis, claimed, cost(9)), undefined, "not half as long, or less urgent");
  assert.deepEqual(await shorterThan(redis, claimed, cost(10)), { id: "gen_five", cost: cost(5), isMoreUrgent: false });
  assert.equal(await idOf(redis, claimed, cost(20)), "gen_ten", "another worker gives way to the shortest already");
  assert.equal(await idOf(redis, claimed, cost(20)), undefined);
  await submit("urgent", 150, "bob", 1);
  await forget("gen_ten", "gen_five");
  const urgent = { id: "gen_urgent", cost: cost(150), isMoreUrgent: true };
  assert.deepEqual(
    await shorterThan(redis, claimed, cost(20), true),
    urgent,
    "however long it is, and whatever is owed",
  );
  assert.equal(await idOf(redis, claimed, cost(20), true), undefined, "not one that is as urgent");
  assert.equal(await queue.cancel("gen_urgent"), "canceled");
  assert.deepEqual([await takeWhole(), await takeWhole(), await takeWhole()], ["gen_ten", "gen_five", "gen_lower"]);
  assert.equal(await idOf(redis, claimed, cost(1000)), undefined, "what is taken or canceled waits no more");
  await end();
});

test("nobody's many short ones keep another's short one back", async () => {
  await submit("long", 150, "eve");
  const { claimed, end } = await take();
  for (const n of [1, 2, 3]) await submit(`ann${n}`, 1);
  await submit("bob1", 9, "bob");
  const order = [];
  for (let n = 0; n < 4; n++) order.push(await idOf(redis, claimed, cost(100)));
  assert.equal(order.indexOf("gen_bob1") < 2, true, order.join());
  assert.equal(new Set(order).size, 4);
  for (let n = 0; n < 4; n++) await takeWhole();
  await end();
});

test("who goes first does not move those who wait, nor those who come later, to a later turn", async () => {
  for (const n of [1, 2, 3, 4]) await submit(`amy${n}`, 20);
  await submit("amy5", 1);
  assert.equal(await takeWhole(), "gen_amy1");
  assert.equal(await goFirst(redis, "gen_amy5"), true);
  assert.equal(await goFirst(redis, "gen_amy1"), false, "it has been taken");
  await queue.enqueue("gen_amy5"); // as the sweep does: there is a job, and nothing happens
  await submit("bea1", 20, "bea");
  const order = [];
  for (let n = 0; n < 5; n++) order.push(await takeWhole());
  assert.deepEqual(
    order.filter((id) => id !== "gen_amy5"),
    ["gen_bea1", "gen_amy2", "gen_amy3", "gen_amy4"],
  );
});

test("one that has given way is before all who come later, also when turns have begun again meanwhile", async () => {
  for (const n of [1, 2, 3]) await submit(`cat${n}`, 20);
  await takeWhole();
  await takeWhole();
  const long = await take(); // the third turn, and nobody waits
  await submit("dan1", 1, "dan");
  await long.giveWay(cost(15), cost(1));
  await submit("dan2", 20, "dan");
  await submit("kim1", 20, "kim");
  const again = await take();
  assert.deepEqual([again.id, again.claimed.owed], [long.id, cost(1)]);
  for (const id of ["gen_dan1", "gen_kim1", "gen_dan2"]) assert.equal(await takeWhole(), id);
  assert.deepEqual(await redis.hgetall("generations:waiting"), {});
  await again.end();
});

test("one that a worker hands back, for it stops, is before all who come later, also when turns have begun again", async () => {
  for (const n of [1, 2, 3]) await submit(`hal${n}`, 20);
  await takeWhole();
  await takeWhole();
  const last = await take();
  for (const owner of ["ida", "jim"]) await submit(`${owner}1`, 20, owner);
  await last.handBack();
  const resumed = await take();
  assert.deepEqual([resumed.id, resumed.claimed.attempt, resumed.claimed.deaths], [last.id, 2, 0]);
  for (const id of ["gen_ida1", "gen_jim1"]) assert.equal(await takeWhole(), id);
  assert.deepEqual(await redis.hgetall("generations:waiting"), {});
  await resumed.end();
});

test("one that has given way is given way to in its turn, and is canceled at once", async () => {
  await submit("big", 150);
  await submit("middle", 50);
  const [big, middle] = [await take(), await take()];
  await middle.giveWay(cost(30), 0);
  assert.deepEqual(await shorterThan(redis, big.claimed, cost(100)), {
    id: "gen_middle",
    cost: cost(30),
    isMoreUrgent: false,
  });
  assert.equal(await goFirst(redis, "gen_middle"), true);
  assert.equal(await queue.cancel("gen_middle"), "canceled");
  await forget("gen_middle");
  assert.equal(await idOf(redis, big.claimed, cost(100)), undefined);

  assert.equal(await requestCancel(redis, "gen_big"), "processing");
  await big.giveWay(cost(30), 0);
  assert.equal(
    await redis.hget(recordKey("gen_big"), "status"),
    "canceled",
    "nobody is at work on it who would hear of it",
  );
  assert.deepEqual(await redis.hgetall("generations:waiting"), {});
});
