/** A generation as Replicate's prediction: what its dialect answers with, and what its webhooks bring. */
import type { GenerationRecord } from "../jobs/generation.ts";
import { hasEnded } from "../jobs/record.ts";

const STATUSES = {
  queued: "starting",
  processing: "processing",
  succeeded: "succeeded",
  failed: "failed",
  canceled: "canceled",
} as const satisfies Record<GenerationRecord["status"], string>;

/** Where the dialect lies below PUBLIC_URL. */
export const REPLICATE = "/replicate/v1";
/** Whose all models are; every owner in `owner/model` is taken. */
export const OWNER = "local";

const BAR = 20;

/** A line as tqdm writes it, which Replicate's clients read. */
function progressLine({ step, total }: GenerationRecord["progress"]): string {
  const done = total === 0 ? 0 : step / total;
  const bar = "█".repeat(Math.round(done * BAR)).padEnd(BAR);
  return `${Math.floor(done * 100)}%|${bar}| ${step}/${total}\n`;
}

const seconds = (from: string | null, to: string | null) =>
  from === null || to === null ? undefined : (Date.parse(to) - Date.parse(from)) / 1000;

/** @param token of the job's links, which are opened without a key */
export function predictionOf(record: GenerationRecord, publicUrl: string, token: string) {
  const { id, status, request, images, warnings, error, progress, created_at, started_at, ended_at } = record;
  const { model, webhook: _webhook, ...input } = request;
  const self = `${publicUrl}${REPLICATE}/predictions/${id}`;
  return {
    id,
    model: `${OWNER}/${model}`,
    version: model,
    input,
    output: status === "succeeded" ? images.map((_, n) => `${self}/output/${n}?token=${token}`) : null,
    error: error?.message ?? null,
    logs: [...warnings.map((warning) => `warning: ${warning}\n`), progressLine(progress)].join(""),
    metrics: hasEnded(record)
      ? { predict_time: seconds(started_at, ended_at), total_time: seconds(created_at, ended_at) }
      : {},
    status: STATUSES[status] as (typeof STATUSES)[keyof typeof STATUSES],
    created_at,
    started_at,
    completed_at: ended_at,
    data_removed: false,
    source: "api",
    urls: { get: self, cancel: `${self}/cancel`, stream: `${self}/stream?token=${token}`, web: self },
  };
}
export type Prediction = ReturnType<typeof predictionOf>;
