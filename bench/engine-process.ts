/** A process with an engine thread, as in a worker, that passes on what is said to the thread and by it. Argument: its EngineSettings. */
import { Worker } from "node:worker_threads";

const engine = new Worker(new URL("../workers/generate/engine-thread.ts", import.meta.url), {
  workerData: JSON.parse(process.argv[2]!),
});
engine.on("message", (message) => process.send!(message));
engine.on("error", (error) => {
  throw error;
});
process.on("message", (message) => engine.postMessage(message));
// An exit would abort where the thread is amid a load, and leave a core of all its memory.
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
