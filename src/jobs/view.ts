/** A generation or a training as clients see it, in answers, events and webhooks alike. */

import type { Generation } from "../schema/generation.ts";
import type { Training, ValidationPicture } from "../schema/training.ts";
import type { GenerationRecord, JobRecord, TrainingRecord } from "./record.ts";

export function present(record: GenerationRecord, publicUrl: string): Generation;
export function present(record: TrainingRecord, publicUrl: string): Training;
export function present(record: JobRecord, publicUrl: string): Generation | Training;
export function present(record: JobRecord, publicUrl: string): Generation | Training {
  const { metadata } = record.request;
  if (record.object === "training") {
    const url = `${publicUrl}/v1/trainings/${record.id}`;
    const validation = withUrls(record.id, record.validation, publicUrl);
    return { ...record, validation, loss_csv: `${url}/loss.csv`, loss_png: `${url}/loss.png`, metadata };
  }
  const url = (n: number) => `${publicUrl}/v1/generations/${record.id}/images/${n}`;
  return { ...record, images: record.images.map((image, n) => ({ url: url(n), ...image })), metadata };
}

/** The pictures of a training, with where to get them. */
export function withUrls(training: string, pictures: readonly ValidationPicture[], publicUrl: string) {
  return pictures.map(({ step, index }) => ({
    step,
    index,
    url: `${publicUrl}/v1/trainings/${training}/validation/${step}/${index}`,
  }));
}
