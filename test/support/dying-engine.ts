/** An engine thread that dies over every generation, as one does that runs out of memory. */
import { parentPort } from "node:worker_threads";
import type { FromEngine } from "../../workers/generate/messages.ts";

const message: FromEngine = {
  type: "catalog",
  catalog: {
    models: [],
    controlnets: [],
    loras: [],
    embeddings: [],
    ip_adapters: [],
    adapters: [],
    annotators: [],
    skipped: [],
    execution_provider: "cpu",
  },
};
parentPort!.postMessage(message);
parentPort!.on("message", () => {
  throw new Error("out of memory");
});
