/**
 * The engine thread of a generation worker. A session's run blocks the thread that it is on, so nothing else lives here; between
 * two evaluations the thread hears whether to go on.
 */
import { parentPort, workerData } from "node:worker_threads";
import { Engine } from "./engine.ts";
import type { EngineSettings, ToEngine } from "./messages.ts";

const port = parentPort!;
const engine = await Engine.open(workerData as EngineSettings, (message, moved = []) =>
  port.postMessage(message, moved),
);
/** Of quiet after a job or a look into MODELS_DIR: then what may come is made ready. */
const QUIET_MS = 1000;
let stopping = false;
const isStopping = () => stopping;
let quiet: NodeJS.Timeout | undefined;

port.on("message", async (message: ToEngine) => {
  quiet?.refresh();
  if (message.type === "reload") return engine.reload();
  if (message.type === "stop") {
    stopping = true;
    return port.close(); // the thread ends by itself once no session is made or run and no image is encoded
  }
  if (message.type === "cancel" || message.type === "yield") return engine.ask(message.type, message.id);
  port.postMessage(await (message.type === "annotate" ? engine.annotate(message) : engine.generate(message)));
  quiet?.refresh();
});
engine.offer();
await engine.preload("all", isStopping);
quiet = setTimeout(() => engine.preload("forms", isStopping), QUIET_MS).unref();
