/** A webhook worker as a process: `npm run deliver`, also as a child of `npm start`. */
import { readConfigWithRedis } from "../../src/config/config.ts";
import { ConfigError } from "../../src/errors.ts";
import { openLog } from "../../src/observe/log.ts";
import { startDeliverer } from "./worker.ts";

try {
  const config = readConfigWithRedis(process.env);
  const log = openLog("deliver", config);
  const deliverer = startDeliverer(config, log);
  let stopping: Promise<void> | undefined;
  const stop = async () => {
    stopping ??= deliverer.close();
    await stopping;
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT", "disconnect"] as const) process.on(signal, stop);
  log.info("delivers webhooks");
} catch (error) {
  console.error(error instanceof ConfigError ? error.message : error);
  process.exit(1);
}
