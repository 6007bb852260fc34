/**
 * npm run demo:train: the demo checkpoint from nothing, in DEMO_TRAIN_DIR; stopped or killed, the same command goes on.
 * DEMO_TRAIN_DIR/train.log says what was done when.
 */
import { appendFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { makeDemo } from "./make.ts";
import { DEMO_TRAIN_DIR, PLAN } from "./plan.ts";

const stop = new AbortController();
process.once("SIGINT", () => stop.abort());
process.once("SIGTERM", () => stop.abort());

mkdirSync(DEMO_TRAIN_DIR, { recursive: true });
function log(text: string): void {
  const line = `${new Date().toISOString()} ${text}\n`;
  process.stdout.write(line);
  appendFileSync(join(DEMO_TRAIN_DIR, "train.log"), line);
}

try {
  await makeDemo({ folder: DEMO_TRAIN_DIR, log, signal: stop.signal }, PLAN);
} catch (error) {
  if (!stop.signal.aborted) {
    throw error;
  }
  log("stopped; the same command goes on");
  process.exitCode = 1;
}
