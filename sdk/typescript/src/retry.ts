import pRetry from "p-retry";

/** Answers after which the same request may succeed. */
const AGAIN = [429, 502, 503, 504];
const LONGEST_WAIT_MS = 60_000;

class ComeBack extends Error {
  readonly answer: Response;
  constructor(answer: Response) {
    super(`answered ${answer.status}`);
    this.answer = answer;
  }
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** How long `Retry-After` asks to wait, in ms. */
const waitOf = ({ headers }: Response) => Math.min(LONGEST_WAIT_MS, 1000 * (Number(headers.get("retry-after")) || 0));

/**
 * A fetch that sends a request again when nothing answers, or when the answer says to come back. A POST gets an `Idempotency-Key`,
 * the same each time, so that it is carried out once.
 */
export function retryingFetch(retries: number, inner: typeof fetch): typeof fetch {
  return async (input, init) => {
    const request = new Request(input, init);
    if (request.method === "POST" && !request.headers.has("idempotency-key")) {
      request.headers.set("Idempotency-Key", crypto.randomUUID());
    }
    const once = async () => {
      const answer = await inner(request.clone());
      if (AGAIN.includes(answer.status)) throw new ComeBack(answer);
      return answer;
    };
    const onFailedAttempt = async (error: Error & { retriesLeft: number }) => {
      if (error instanceof ComeBack && error.retriesLeft > 0) await sleep(waitOf(error.answer));
    };
    try {
      return await pRetry(once, { retries, minTimeout: 300, onFailedAttempt, signal: request.signal });
    } catch (error) {
      if (error instanceof ComeBack) return error.answer;
      throw error;
    }
  };
}
