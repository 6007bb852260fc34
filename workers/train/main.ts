/** A trainer as a process: `npm run trainer`, also as a child of `npm start`. */
import { readConfigWithRedis } from "../../src/config/config.ts";
import { ConfigError } from "../../src/errors.ts";
import { openLog } from "../../src/observe/log.ts";
import { GRACE_MS } from "../take-jobs.ts";
import { startTrainer } from "./worker.ts";

try {
  const config = readConfigWithRedis(process.env);
  const log = openLog("trainer", config);
  let trainer: Awaited<ReturnType<typeof startTrainer>> | undefined;
  let stopping: Promise<{ idle: boolean }> | undefined;
  // A thread that is ended inside a step aborts the process; what it has saved is on the disk.
  const leave = () => process.kill(process.pid, "SIGKILL");
  const stop = async () => {
    setTimeout(leave, GRACE_MS + 2000).unref();
    stopping ??= trainer?.close();
    if ((await stopping)?.idle === false) leave();
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT", "disconnect"] as const) process.on(signal, stop);
  trainer = await startTrainer(config, log);
} catch (error) {
  console.error(error instanceof ConfigError ? error.message : error);
  process.exit(1);
}
