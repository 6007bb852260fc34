import { readConfigWithRedis } from "../config/config.ts";
import { ConfigError } from "../errors.ts";
import { JobQueue } from "../jobs/queue.ts";
import { openLog } from "../observe/log.ts";
import { Outbound } from "../outbound/client.ts";
import { openStorage } from "../storage/open.ts";
import { buildApp } from "./app.ts";
import { listen } from "./listen.ts";

try {
  const config = readConfigWithRedis(process.env);
  delete process.env.API_KEYS; // from here on there are only their hashes
  const log = openLog("gateway", config);
  const queue = new JobQueue(config.REDIS_URL, (error) => log.debug({ err: error }, "Redis connection"));
  const storage = openStorage(config);
  const outbound = new Outbound(config);
  const app = await buildApp({ config, queue, storage, outbound }, log);

  const stop = async () => {
    await app.close();
    await outbound.close();
    await queue.close();
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT", "disconnect"] as const) process.once(signal, stop);

  await listen(app, config);
} catch (error) {
  const told = error instanceof ConfigError || (error as NodeJS.ErrnoException).code === "EADDRINUSE";
  console.error(told ? (error as Error).message : error);
  process.exit(1);
}
