/** What goes through a queue: generations and trainings. A job's id says which it is. */
import { randomUUID } from "node:crypto";

export type Kind = "generation" | "training";

const TRAINING = "trn_";

export const newGenerationId = () => `gen_${randomUUID().replaceAll("-", "")}`;
export const newTrainingId = () => `${TRAINING}${randomUUID().replaceAll("-", "")}`;

export const kindOf = (id: string): Kind => (id.startsWith(TRAINING) ? "training" : "generation");
