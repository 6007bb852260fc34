/** The thread of maps without networks. It may be ended at any time: nothing runs on it that the runtime minds. */
import { parentPort } from "node:worker_threads";
import type { PlainChoice } from "../../../src/schema/annotator-choice.ts";
import { MapError, type MapTask } from "./made.ts";
import { makePlain } from "./plain.ts";
import type { MapAnswer } from "./thread-client.ts";

const port = parentPort!;

port.on("message", async (task: MapTask<PlainChoice>) => {
  try {
    const made = await makePlain(task);
    port.postMessage({ type: "made", made } satisfies MapAnswer);
  } catch (error) {
    const code = error instanceof MapError ? error.code : "internal";
    port.postMessage({ type: "failed", code, message: (error as Error).message } satisfies MapAnswer);
  }
});
