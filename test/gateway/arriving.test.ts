import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { test } from "node:test";
import { arriving } from "../../src/gateway/arriving.ts";
import { hashOf } from "../../src/storage/keys.ts";

/** How often others have their turn while something is done. */
async function turnsOf(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let next: NodeJS.Immediate;
  const count = () => {
    turns++;
    next = setImmediate(count);
  };
  next = setImmediate(count);
  await work().finally(() => clearImmediate(next));
  return turns;
}
const PIECES = 16;
const pieces = Array.from({ length: PIECES }, () => Buffer.alloc(64 * 1024));

test("of a body that is there already, others have a turn between any two pieces", async () => {
  const body = Readable.from(pieces) as IncomingMessage;
  let bytes = 0;
  const turns = await turnsOf(async () => {
    for await (const piece of arriving(body, { idleMs: 60_000, idleBytes: 1 })) bytes += piece.length;
  });
  assert.equal(bytes, PIECES * 64 * 1024);
  assert.ok(turns >= PIECES, `${turns} turns`);
});

test("and while it is hashed", async () => {
  const turns = await turnsOf(() => hashOf("sha256", Buffer.concat(pieces)));
  assert.ok(turns >= PIECES / 4 - 1, `${turns} turns`);
});
