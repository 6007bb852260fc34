/** Errors that cross a border of the project. What each means in HTTP stands in src/gateway/problems.ts. */

/** One field at fault; `path` as in `controls[0].image`, empty for the whole request. */
export interface FieldError {
  path: string;
  message: string;
}

/** The request is refused and has had no effect. `message` is written for the client. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly status: 400 | 401 | 403 | 404 | 405 | 406 | 408 | 409 | 413 | 415 | 416 | 422 | 429;
  readonly code: string;
  readonly errors: FieldError[];

  constructor(status: Refused["status"], code: string, message: string, errors: FieldError[] = []) {
    super(message);
    this.status = status;
    this.code = code;
    this.errors = errors;
  }
}

/** Something that the service needs is away: try again later. `reasons` are written for the client. */
export class NotReady extends Error {
  override readonly name = "NotReady";
  readonly reasons: string[];

  constructor(reasons: string[], options?: ErrorOptions) {
    super(reasons.join("; "), options);
    this.reasons = reasons;
  }
}

/** What was to be kept would leave the disk too full. `code` is that of a full disk: who waits for room waits for both. */
export class NoRoom extends NotReady {
  readonly code = "ENOSPC";

  /** @param reserve how many bytes stay free */
  constructor(reserve: number) {
    super([`the disk has no room for it beside ${reserve / 2 ** 20} MiB that stay free`]);
  }
}

/** An environment variable has a value that cannot be used. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}
