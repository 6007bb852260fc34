/** A webhook worker in a hurry: the real one, with a schedule of milliseconds. */
import { pino } from "pino";
import { readConfigWithRedis } from "../../src/config/config.ts";
import type { Policy } from "../../workers/deliver/policy.ts";
import { startDeliverer } from "../../workers/deliver/worker.ts";

export const QUICK: Policy = {
  waits: [0, 50, 100, 150],
  jitter: 0.1,
  longestWait: 1500,
  timeLimit: 1000,
  lease: 2000,
};

if (import.meta.main) {
  startDeliverer(readConfigWithRedis(process.env), pino({ level: "silent" }), QUICK);
  process.on("disconnect", () => process.exit());
}
