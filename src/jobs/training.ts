import { Training, TrainingProgressEvent, type ValidationPicture, type Training as View } from "../schema/training.ts";
import { TrainingRequest } from "../schema/training-request.ts";
import type { Addresses } from "./addresses.ts";
import type { JobKind } from "./kind.ts";

export type TrainingRecord = Omit<View, "loss_csv" | "loss_png" | "validation" | "metadata"> & {
  validation: ValidationPicture[];
};

/** A ControlNet made of a dataset. */
export const training: JobKind<TrainingRecord, View, TrainingProgressEvent> = {
  name: "training",
  prefix: "trn_",
  request: TrainingRequest,
  view: Training,
  words: {
    title: "Training",
    stops: "one step",
    deletes:
      "With its dataset, its pictures, its curve, its events and its webhook deliveries. The ControlNet that it has made stays.",
    progress:
      "one `progress` for each step (of more than 10,000 steps: that many, evenly spread, and the steps at which it is saved)",
    data: "`{step, total, loss, learning_rate, validation}` of a progress, else the training as it was then; `validation` lists the pictures that were made at this step, as the training does.",
  },
  total: ({ max_train_steps }) => max_train_steps,
  priority: () => 0,
  cost: () => null,
  exclusiveName: ({ name }) => name,
  parse: ({ loss, validation, controlnet, memory_bytes }) => ({
    object: "training",
    memory_bytes: JSON.parse(memory_bytes ?? "null"),
    loss: JSON.parse(loss ?? "null"),
    validation: JSON.parse(validation ?? "[]"),
    controlnet: JSON.parse(controlnet ?? "null"),
  }),
  show(record, addresses) {
    const path = `/v1/trainings/${record.id}`;
    const validation = withUrls(record.id, record.validation, addresses);
    const loss = {
      loss_csv: `${addresses.publicUrl}${path}/loss.csv`,
      loss_png: addresses.picture(`${path}/loss.png`),
    };
    return { ...record, validation, ...loss, metadata: record.request.metadata };
  },
  step: ({ step, total, loss, learning_rate, validation }) => ({
    step: Number(step),
    total: Number(total),
    loss: Number(loss),
    learning_rate: Number(learning_rate),
    validation: JSON.parse(validation ?? "[]"),
  }),
  progressView: TrainingProgressEvent,
  showStep: (id, step, addresses) => ({ ...step, validation: withUrls(id, step.validation, addresses) }),
};

/** The pictures of a training, with where to get them. */
function withUrls(id: string, pictures: readonly ValidationPicture[], addresses: Addresses) {
  return pictures.map(({ step, index }) => ({
    step,
    index,
    url: addresses.picture(`/v1/trainings/${id}/validation/${step}/${index}`),
  }));
}
