import assert from "node:assert/strict";
import { test } from "node:test";
import { follow } from "../support/follow/follow.ts";

test("clients that follow many generations at once, some of them coming back again and again, each see every event once and in order", async (t) => {
  const { clients, wrong, events, milliseconds } = await follow(50, 6);
  t.diagnostic(`${events} events, the slowest after ${Math.max(...milliseconds).toFixed(0)} ms`);
  assert.equal(wrong, 0);
  assert.equal(events, clients * 9); // queued, started, 6 steps, the end
});
