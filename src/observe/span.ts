/**
 * The stages of what the service does (validate, queue, load, encode, step, decode, store, deliver), as spans of time. Who measures
 * listens; where nobody does, a span costs a function call. Each thread has spans of its own.
 */
import { AsyncLocalStorage } from "node:async_hooks";

export type Attributes = Readonly<Record<string, string | number | boolean>>;

export interface Span {
  readonly name: string;
  readonly attributes: Attributes;
  /** The span that it is a part of; null = of none that this thread knows. */
  readonly parent: Span | null;
  /** As performance.now() tells it. */
  readonly startedAt: number;
  /** Milliseconds from its start to its end; undefined as long as it lasts. */
  ms?: number;
  /** What it has thrown. */
  error?: unknown;
}

/** Hears of a span at its end, so of its parts before it. What it throws is thrown at who has made the span. */
export type SpanListener = (span: Span) => void;

const listeners = new Set<SpanListener>();
const current = new AsyncLocalStorage<Span>();

/** Hears every span of this thread until the function is called that comes back. */
export function onSpan(listener: SpanListener): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** Tells of a stage that was measured otherwise, as the wait in a queue, which begins in one process and ends in another. */
export function tellSpan(name: string, attributes: Attributes, ms: number): void {
  const startedAt = performance.now() - ms;
  const made: Span = { name, attributes, parent: current.getStore() ?? null, startedAt, ms };
  for (const listener of listeners) listener(made);
}

/** Does `run` as a span; those that are made meanwhile by what it calls are parts of it. */
export async function span<T>(name: string, attributes: Attributes, run: () => T | Promise<T>): Promise<T> {
  if (listeners.size === 0) return run();
  const startedAt = performance.now();
  const made: Span = { name, attributes, parent: current.getStore() ?? null, startedAt };
  try {
    return await current.run(made, run);
  } catch (error) {
    made.error = error;
    throw error;
  } finally {
    made.ms = performance.now() - startedAt;
    for (const listener of listeners) listener(made);
  }
}
