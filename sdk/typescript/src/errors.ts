import type { Annotation, Generation, Problem, Training } from "./generated/index.ts";

/** What the service makes, each with an end. */
export type Job = Generation | Annotation | Training;

/** The service has refused a request: `problem.code` says why, `problem.errors` which fields. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/** A job has ended without what it was for: `job.status` is failed, with `job.error`, or canceled. */
export class JobFailed extends Error {
  override readonly name = "JobFailed";
  readonly job: Job;
  constructor(job: Job) {
    super(job.error?.message ?? `the ${job.object} was canceled`);
    this.job = job;
  }
}

/** What a function of the generated client gives. */
export type Sent<T> = Promise<{ data?: T; error?: unknown; response?: Response | undefined }>;

const isProblem = (error: unknown): error is Problem => typeof error === "object" && error !== null && "code" in error;

/** The answer. @throws {Refused}, and what fetch throws when nothing answers */
export async function dataOf<T>(sent: Sent<T>): Promise<T> {
  const { data, error, response } = await sent;
  if (response?.ok && error === undefined) return data as T;
  if (error instanceof Error || response === undefined) throw error;
  if (isProblem(error)) throw new Refused(error);
  // Something between here and the service has answered in words of its own.
  throw new Error(`answered ${response.status} ${response.statusText}`, { cause: error });
}
