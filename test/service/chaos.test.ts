import assert from "node:assert/strict";
import { test } from "node:test";
import { chaos } from "../support/chaos.ts";

test("while gateways, workers, webhook workers and Redis are killed or stand still, nothing is lost, doubled or changed", async (t) => {
  const report = await chaos({
    generations: 30,
    clients: 6,
    killEveryMs: 800,
    killForMs: 12_000,
    freezeMs: 2000,
    fillDisk: true,
    deliver: "test/support/quick-deliver.ts",
  });
  t.diagnostic(JSON.stringify(report));
  assert.equal(report.generations, 30);
  assert.ok(Object.values(report.kills).length > 0, "nothing was killed");
  const { lost, otherPictures, untold, toldTwice, otherEvents, died, duplicates, badSignatures } = report;
  assert.deepEqual(
    { lost, otherPictures, untold, toldTwice, otherEvents, died, duplicates, badSignatures },
    {
      lost: [],
      otherPictures: [],
      untold: [],
      toldTwice: [],
      otherEvents: [],
      died: [],
      duplicates: 0,
      badSignatures: 0,
    },
  );
});
