/** Clients as processes of their own, so that what they do takes no time from what is measured. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

/** No client takes as long: one that does goes round in circles. */
const LIMIT_MS = 300_000;

/** Starts a client of this folder with a job, which it finds as JSON in its first argument; `next` is what it says next. */
export function elsewhere(stack: AsyncDisposableStack, file: string, job: object) {
  const child = fork(join(import.meta.dirname, file), [JSON.stringify(job)], { timeout: LIMIT_MS });
  stack.defer(() => void child.kill("SIGKILL"));
  const gone = once(child, "exit").then(([status, signal]) => {
    throw new Error(`${file} has ended: ${signal ?? `status ${status}`}`);
  });
  gone.catch(() => {});
  return {
    next: async <T>(): Promise<T> => {
      const [message] = await Promise.race([once(child, "message"), gone]);
      return message as T;
    },
  };
}
