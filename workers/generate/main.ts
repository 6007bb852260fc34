/** A generation worker as a process: `npm run worker`, also as a child of `npm start`. */
import { readConfigWithRedis } from "../../src/config/config.ts";
import { ConfigError } from "../../src/errors.ts";
import { openLog } from "../../src/observe/log.ts";
import { GRACE_MS } from "../take-jobs.ts";
import { openFiles } from "./picture-file.ts";
import { startWorker } from "./worker.ts";

try {
  const config = readConfigWithRedis(process.env);
  await openFiles(config); // the engine's thread does it again, and could not say it as well
  const log = openLog("worker", config);
  const engineFile = new URL("./engine-thread.ts", import.meta.url);
  let worker: Awaited<ReturnType<typeof startWorker>> | undefined;
  let stopping: Promise<void> | undefined;
  const stop = async () => {
    // With Redis away nothing can be handed back: the job is taken over when its lock has run out.
    setTimeout(() => process.exit(1), GRACE_MS + 2000).unref();
    stopping ??= worker?.close();
    await stopping;
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT", "disconnect"] as const) process.on(signal, stop);
  worker = await startWorker(config, engineFile, log, (error) => {
    log.fatal({ err: error }, "the engine thread died");
    process.exit(1);
  });
} catch (error) {
  console.error(error instanceof ConfigError ? error.message : error);
  process.exit(1);
}
