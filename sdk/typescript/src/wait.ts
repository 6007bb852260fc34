import { dataOf, type Sent } from "./errors.ts";
import type { Client } from "./generated/client/index.ts";
import * as api from "./generated/index.ts";
import { pause } from "./retry.ts";

/** How often it asks how a job is, in ms: beside its events, and when they do not come through. */
const ASK_MS = { besideEvents: 2000, alone: 1000 };
/** How a stream of events that breaks is taken up again. */
const STREAM = { sseMaxRetryAttempts: 5, sseDefaultRetryDelay: 500 };

/** The kinds of jobs, by their `object`. */
export interface Jobs {
  generation: api.Generation;
  annotation: api.Annotation;
  training: api.Training;
}

interface Progress {
  generation: api.GenerationProgressEvent;
  annotation: api.AnnotationProgressEvent;
  training: api.TrainingProgressEvent;
}

export interface WaitOptions<Kind extends keyof Jobs> {
  /** Hears how far it is; of a generation with a preview, where its request asks for previews. */
  onProgress?: (progress: Progress[Kind]) => void;
  signal?: AbortSignal;
}

interface Target {
  client: Client;
  path: { id: string };
  signal: AbortSignal;
}

interface Calls<Kind extends keyof Jobs> {
  get: (target: Target) => Sent<Jobs[Kind]>;
  events: (target: Target) => Promise<{ stream: AsyncIterable<Jobs[Kind] | Progress[Kind]> }>;
}

const CALLS: { [Kind in keyof Jobs]: Calls<Kind> } = {
  generation: { get: api.getGeneration, events: api.streamGenerationEvents },
  annotation: { get: api.getAnnotation, events: api.streamAnnotationEvents },
  training: { get: api.getTraining, events: api.streamTrainingEvents },
};

/**
 * The job when it has ended, whichever way: told by its events, or by asking where those do not come through.
 *
 * @param job where it says that it has not ended, as what was just created does, its events come first
 */
export async function waitForEnd<Kind extends keyof Jobs>(
  client: Client,
  job: { id: string; object: Kind; ended_at?: string | null },
  { onProgress, signal }: WaitOptions<Kind>,
): Promise<Jobs[Kind]> {
  const { get, events } = CALLS[job.object];
  const over = new AbortController();
  const stop = AbortSignal.any(signal === undefined ? [over.signal] : [over.signal, signal]);
  const target = { client, path: { id: job.id }, signal: stop };
  const ask = async () => {
    const now = await dataOf(get(target));
    return now.ended_at === null ? undefined : now;
  };
  const follow = async () => {
    const sseSleepFn = (ms: number) => pause(ms, stop);
    const { stream } = await events({ ...target, ...STREAM, sseSleepFn } as Target);
    for await (const event of stream) if (!("object" in event) && !stop.aborted) onProgress?.(event);
  };
  let ended = job.ended_at === null ? undefined : await ask();
  if (ended !== undefined) return ended;
  let following: Promise<void> | undefined = follow().finally(() => (following = undefined));
  try {
    while (ended === undefined) {
      await (following ? Promise.race([following, pause(ASK_MS.besideEvents, stop)]) : pause(ASK_MS.alone, stop));
      signal?.throwIfAborted();
      ended = await ask();
    }
    return ended;
  } finally {
    over.abort();
    await following;
  }
}
