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
let stopping = false;

port.on("message", async (message: ToEngine) => {
  if (message.type === "reload") return engine.reload();
  if (message.type === "stop") {
    stopping = true;
    return port.close(); // the thread ends by itself once no session is made or run and no image is encoded
  }
  if (message.type === "annotate") return port.postMessage(await engine.annotate(message));
  if (message.type !== "generate") return engine.ask(message.type, message.id);
  port.postMessage(await engine.generate(message));
});
engine.offer();
await engine.preload(() => stopping);
