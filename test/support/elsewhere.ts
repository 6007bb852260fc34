/** Clients as processes of their own, so that what they do takes no time from what is measured. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** No client takes as long: one that does goes round in circles. */
const LIMIT_MS = 300_000;

/** Starts the client at `file` with a job, which it finds as JSON in its first argument. */
export function elsewhere(stack: AsyncDisposableStack, file: URL, job: object) {
  const child = fork(fileURLToPath(file), [JSON.stringify(job)], { timeout: LIMIT_MS });
  stack.defer(() => void child.kill("SIGKILL"));
  const gone = once(child, "disconnect").then(() => {
    throw new Error(`${file.pathname} has ended without an answer`);
  });
  gone.catch(() => {});
  return {
    /** What it says next; one that ends first has failed. */
    next: async <T>(): Promise<T> => {
      const [message] = await Promise.race([once(child, "message"), gone]);
      return message as T;
    },
  };
}

/** What a client says; it is on its way when this resolves, and the client may end. */
export function say(message: unknown): Promise<void> {
  return new Promise((resolve, reject) =>
    process.send!(message, (error: Error | null) => (error ? reject(error) : resolve())),
  );
}
