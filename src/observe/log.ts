/** The log of a process: JSON lines of pino, with no key, no secret and no image in them. */
import { type Logger, pino } from "pino";
import type { Config } from "../config/config.ts";

/** The longest text that is not cut: no message needs more, and an image in base64 has more. */
const LONGEST = 2000;

export function openLog(
  name: string,
  { LOG_LEVEL }: Pick<Config, "LOG_LEVEL">,
  to?: { write(line: string): void },
): Logger {
  const options = {
    name,
    level: LOG_LEVEL,
    // An error of ioredis holds the whole command, which can be a webhook's secret or a saved state.
    redact: { paths: ["err.command", "err.cause.command", "err.previousErrors"], remove: true },
    serializers: { err: cut, req: asked },
  };
  return to === undefined ? pino(options) : pino(options, to);
}

/** A request without its query, which is where clients put keys that belong into a header. */
function asked({ method, url, ip }: { method: string; url: string; ip: string }): object {
  return { method, url: url.split("?")[0]?.slice(0, LONGEST), ip };
}

/** An error without what is too long in it. */
function cut(error: Error): object {
  const plain = pino.stdSerializers.err(error);
  for (const [name, value] of Object.entries(plain)) {
    if (typeof value === "string" && value.length > LONGEST) plain[name] = `${value.slice(0, LONGEST)}…`;
  }
  return plain;
}
