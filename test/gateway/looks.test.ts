import assert from "node:assert/strict";
import { test } from "node:test";
import { Looks } from "../../src/gateway/looks.ts";

test("of a thousand who look for the same at once, one asks Redis; who comes later asks anew", async () => {
  let asked = 0;
  const looks = new Looks({ ask: async () => [`${++asked}`, []] as never });
  const first = await Promise.all(Array.from({ length: 1000 }, () => looks.look("gen_1", "0-0")));
  assert.deepEqual([asked, new Set(first).size], [1, 1]);
  const [under, others] = [looks.look("gen_1", "0-0"), looks.look("gen_1", "1-0")];
  assert.deepEqual([(await under)[0], (await others)[0]], ["2", "3"]);
});

test("a look that fails fails for those who wait for it alone", async () => {
  let asked = 0;
  const looks = new Looks({
    ask: async () => {
      if (++asked === 1) throw new Error("Redis is away");
      return ["queued", []] as never;
    },
  });
  const both = await Promise.allSettled([looks.look("gen_1", "0-0"), looks.look("gen_1", "0-0")]);
  assert.deepEqual(
    both.map(({ status }) => status),
    ["rejected", "rejected"],
  );
  assert.deepEqual(await looks.look("gen_1", "0-0"), ["queued", []]);
});

test("a thousand do not all go on in one turn of the event loop, and those who came first go first", async () => {
  const looks = new Looks({ ask: async () => ["queued", []] as never });
  let turn = 0;
  let next: NodeJS.Immediate;
  const count = () => {
    turn++;
    next = setImmediate(count);
  };
  count();
  const turns = await Promise.all(
    Array.from({ length: 1000 }, async () => {
      await looks.look("gen_1", "0-0");
      return turn;
    }),
  ).finally(() => clearImmediate(next));
  assert.deepEqual(
    turns,
    turns.toSorted((a, b) => a - b),
  );
  const together = Math.max(...Object.values(Object.groupBy(turns, String)).map((those) => those!.length));
  assert.ok(together <= 256, `${together} in one turn`);
});
