/** What goes wrong on the way to a stranger's address, as the client may read it. */

/**
 * refused: the address is not allowed, and trying again cannot help. unreachable: no such host, no connection, no valid
 * certificate. bad_answer: not a plain 200 with a body as it is.
 */
type Reason = "refused" | "unreachable" | "timed_out" | "too_large" | "bad_answer";

/** A request to a stranger's address has not succeeded. `message` is written for the client, and tells nothing of the inside. */
export class OutboundError extends Error {
  override readonly name = "OutboundError";
  readonly reason: Reason;

  constructor(reason: Reason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** How long a connection may take to be made. */
export const CONNECT_MS = 10_000;

/** Codes of errors that say too little by themselves. */
const SAID: Record<string, string> = {
  ENOTFOUND: "there is no host of that name",
  ENODATA: "no host of that name has an address",
  ETIMEOUT: "its name servers do not answer",
};

/** An error of the network as the client may read it. What the caller's own signal says is passed on. */
export function told(cause: unknown, who: string, timeoutMs: number): unknown {
  if (cause instanceof OutboundError) return cause;
  const { name, code } = cause as NodeJS.ErrnoException;
  if (name === "ConnectTimeoutError") {
    return new OutboundError("timed_out", `${who} did not take the connection within ${CONNECT_MS / 1000} s`, {
      cause,
    });
  }
  if (name === "TimeoutError") {
    return new OutboundError("timed_out", `${who} did not answer in full within ${timeoutMs / 1000} s`, { cause });
  }
  if (name === "AbortError") return cause;
  const how = SAID[code ?? ""] ?? code ?? name;
  return new OutboundError("unreachable", `${who} cannot be reached (${how})`, { cause });
}

/** The connection ended within a body: `length` bytes of it have come. What is no error of the network is passed on. */
export function brokenOff(error: unknown, length: number, announced: unknown): unknown {
  if (!(error instanceof OutboundError) || error.reason !== "unreachable") return error;
  const all = announced === undefined ? "" : ` of ${announced}`;
  const message = `the download was cut off after ${length}${all} bytes: the connection was closed before the end`;
  return new OutboundError("unreachable", message, { cause: error.cause });
}

/** What an operator can do about an address that is refused. */
export const BUT_ALLOWED = "; the installation can allow a host by ALLOW_HOSTS";

export function refused(why: string): OutboundError {
  return new OutboundError("refused", `the address is refused: ${why}`);
}
