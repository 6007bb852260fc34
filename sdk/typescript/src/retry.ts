import pRetry from "p-retry";

/** Answers after which the same request may succeed. */
const AGAIN = [429, 502, 503, 504];
/** Who asks for more patience than this gets the answer instead. */
const LONGEST_WAIT_MS = 60_000;
const FIRST_WAIT_MS = 300;

class ComeBack extends Error {
  readonly answer: Response;
  constructor(answer: Response) {
    super(`answered ${answer.status}`);
    this.answer = answer;
  }
}

/** Resolves after `ms`, or as soon as `signal` aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    if (signal.aborted) end();
    else signal.addEventListener("abort", end);
  });
}

/** How long `Retry-After` (seconds, or a date) asks to wait, in ms. */
function waitOf({ headers }: Response): number {
  const after = headers.get("retry-after") ?? "0";
  const seconds = Number(after);
  return Number.isNaN(seconds) ? Math.max(0, Date.parse(after) - Date.now()) : 1000 * seconds;
}

/** The answer with its body come, so that a connection that breaks meanwhile is another try; events come one by one. */
async function whole(answer: Response): Promise<Response> {
  if (answer.body === null || answer.headers.get("content-type")?.startsWith("text/event-stream")) return answer;
  return new Response(await answer.arrayBuffer(), answer);
}

/**
 * A fetch that sends a request again when nothing answers, or when the answer says to come back. A POST gets an `Idempotency-Key`,
 * the same each time, so that it is carried out once.
 *
 * @param retries how often it is sent again
 */
export function retryingFetch(retries: number, inner: typeof fetch): typeof fetch {
  return async (input, init) => {
    const request = new Request(input, init);
    if (request.method === "POST" && !request.headers.has("idempotency-key")) {
      request.headers.set("Idempotency-Key", crypto.randomUUID());
    }
    const { signal } = request;
    const once = async () => {
      const answer = await whole(await inner(request.clone()));
      if (AGAIN.includes(answer.status)) throw new ComeBack(answer);
      return answer;
    };
    const onFailedAttempt = async (error: Error & { retriesLeft: number }) => {
      if (!(error instanceof ComeBack) || error.retriesLeft === 0) return;
      const wait = waitOf(error.answer);
      if (wait > LONGEST_WAIT_MS) throw error;
      await pause(wait, signal);
    };
    try {
      return await pRetry(once, { retries, minTimeout: FIRST_WAIT_MS, onFailedAttempt, signal });
    } catch (error) {
      if (error instanceof ComeBack) return error.answer;
      throw error;
    }
  };
}
