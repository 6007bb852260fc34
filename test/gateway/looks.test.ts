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
