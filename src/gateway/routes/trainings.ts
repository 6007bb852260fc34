import type { FastifyRequest } from "fastify";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../../errors.ts";
import { newTrainingId } from "../../jobs/kinds.ts";
import { ACCEPTED_WITHIN_MS, expectFiles } from "../../jobs/list.ts";
import type { Idempotency, TrainingRecord } from "../../jobs/record.ts";
import { present } from "../../jobs/view.ts";
import { type Catalog, Training, TrainingInput, type TrainingRequest, tooManyPixels } from "../../schema/schema.ts";
import { datasetKey, inputKey, jobFolder, lossKey, validationKey } from "../../storage/keys.ts";
import { NotKept } from "../../storage/storage.ts";
import type { Uploads } from "../../storage/uploads.ts";
import { DatasetError, datasetFolder } from "../../training/dataset.ts";
import type { Parts } from "../app.ts";
import { ownerOf } from "../auth.ts";
import { idempotencyHeader, idempotencyOf } from "../idempotency.ts";
import type { ImagesIn } from "../images-in.ts";
import { problems } from "../openapi.ts";
import { names, suggestion, unknown } from "../resolve.ts";
import { checkWebhook, findJob, jobParams, jobRoutes, madeBefore } from "./jobs.ts";

type WithFiles = Parts & { imagesIn: ImagesIn; uploads: Uploads };

export const trainings: FastifyPluginAsyncZod<WithFiles> = async (app, options) => {
  const { config, queue, storage, outbound, imagesIn, uploads } = options;
  const tags = ["trainings"];

  app.post(
    "/v1/trainings",
    {
      config: { ownKeys: true },
      schema: {
        operationId: "createTraining",
        summary: "Train a ControlNet",
        description:
          "It is carried out like a generation, by a process of its own: killed, it goes on from where it was saved last. At its end the ControlNet is offered to all, under its name.",
        tags,
        headers: z.looseObject(idempotencyHeader),
        body: TrainingInput,
        response: {
          202: Training.describe("Accepted; it will end as succeeded, failed or canceled."),
          ...problems(400, 409, 413, 422, 429, 503),
        },
      },
    },
    async (request, reply) => {
      const record = await accept(request, ownerOf(request), idempotencyOf(request));
      reply.header("Location", `${config.PUBLIC_URL}/v1/trainings/${record.id}`);
      return reply.code(202).send(present(record, config.PUBLIC_URL));
    },
  );

  /** Accepts a new training, or finds the one that the idempotency key has made. */
  async function accept(
    { body, log }: FastifyRequest<{ Body: TrainingInput }>,
    owner: string,
    idempotency: Idempotency | undefined,
  ): Promise<TrainingRecord> {
    const known = idempotency && (await queue.remembered(owner, idempotency));
    if (known !== undefined) return madeBefore(known, options, "training", owner);
    const id = newTrainingId();
    await checkWebhook(body.webhook, outbound);
    checkModels(body, await queue.catalog());
    const pixels = tooManyPixels(body, config.MAX_PIXELS);
    if (pixels !== null) throw unknown("too_many_pixels", pixels.path, pixels.message);
    const archive = await archiveOf(body.dataset, owner);
    const named = body.validation.map(({ image }, i) => [`validation[${i}].image`, image] as const);
    const images = [...(await imagesIn.take(new Map(named), owner)).values()];

    await queue.ask((redis) => expectFiles(redis, id, ACCEPTED_WITHIN_MS));
    if (archive !== null) {
      await storage.copy(archive, datasetKey(id)).catch((error) => {
        throw error instanceof NotKept ? noArchive(body.dataset) : error; // expired while the images came
      });
    }
    for (const { hash, bytes } of images) await storage.put(inputKey(id, hash), bytes);
    const validation = body.validation.map(({ prompt }, i) => ({ prompt, image: images[i]!.hash }));
    const request: TrainingRequest = { ...body, validation };
    const terms = { idempotency, mostQueued: config.MAX_QUEUE, mostOfOwner: config.MAX_JOBS_PER_KEY };
    const submission = await queue.submit(id, request, owner, terms);
    if (submission.outcome !== "accepted") {
      await storage.removeFolder(jobFolder(id));
      return madeBefore(submission, options, "training", owner);
    }
    log.info({ training: id, base: request.base, name: request.name }, "accepted");
    return submission.record as TrainingRecord;
  }

  /** Where the archive of a dataset lies; null = it is a folder of the worker's. @throws {Refused} */
  async function archiveOf(dataset: string, owner: string): Promise<string | null> {
    if (!dataset.startsWith("upload:")) {
      checkFolder(dataset.slice("folder:".length), config.DATASETS_DIR);
      return null;
    }
    const key = await uploads.archive(owner, dataset.slice("upload:".length));
    if (key === undefined) throw noArchive(dataset);
    return key;
  }

  jobRoutes(app, options, {
    kind: "training",
    schema: Training,
    stops: "one step",
    deletes:
      "With its dataset, its pictures, its curve, its events and its webhook deliveries. The ControlNet that it has made stays.",
  });

  app.get(
    "/v1/trainings/:id/validation/:step/:index",
    {
      schema: {
        operationId: "getTrainingPicture",
        summary: "A picture that the ControlNet made while it was trained",
        tags,
        params: jobParams.extend({
          step: z.string().describe("At which step, one at which the training was saved."),
          index: z.string().describe("Which of the request's `validation`, from 0."),
        }),
        response: { 200: file("image/png", "The picture."), ...problems(404, 503) },
      },
    },
    async (request, reply) => {
      const { id, step, index } = request.params;
      await findJob(queue, "training", ownerOf(request), id);
      const known = /^\d{1,9}$/.test(step) && /^\d{1,3}$/.test(index);
      const bytes = known ? await storage.find(validationKey(id, Number(step), Number(index))) : undefined;
      if (bytes === undefined) throw new Refused(404, "not_found", `there is no picture ${index} of step ${step}`);
      return reply.header("Cache-Control", "private, immutable").type("image/png").send(bytes);
    },
  );

  for (const [type, content, what] of [
    ["csv", "text/csv", "step,loss,learning_rate,grad_norm: a line a step."],
    ["png", "image/png", "The loss over the steps, as a picture."],
  ] as const) {
    app.get(
      `/v1/trainings/:id/loss.${type}`,
      {
        schema: {
          operationId: `getTrainingLoss${type === "csv" ? "Csv" : "Png"}`,
          summary: type === "csv" ? "The loss of every step" : "The curve of the loss",
          description: "As of when the training was last saved.",
          tags,
          params: jobParams,
          response: { 200: file(content, what), ...problems(404, 503) },
        },
      },
      async (request, reply) => {
        const { id } = await findJob(queue, "training", ownerOf(request), request.params.id);
        const bytes = await storage.find(lossKey(id, type));
        if (bytes === undefined) throw new Refused(404, "not_found", "the training has not been saved yet");
        return reply.header("Cache-Control", "no-cache").type(content).send(bytes);
      },
    );
  }
};

const noArchive = (dataset: string) =>
  unknown("unknown_upload", "dataset", `there is no archive "${dataset.slice("upload:".length)}", or no more`);

const file = (type: string, description: string) => ({ description, content: { [type]: { schema: z.unknown() } } });

/** @throws {Refused} when there is no such dataset; where the gateway has no DATASETS_DIR, the trainer finds out */
function checkFolder(name: string, DATASETS_DIR: string | undefined): void {
  try {
    if (DATASETS_DIR !== undefined) datasetFolder(DATASETS_DIR, name);
  } catch (error) {
    if (error instanceof DatasetError) throw unknown("unknown_dataset", "dataset", error.message);
    throw error;
  }
}

/** @throws {Refused} when the base cannot be trained for, not so, or the name belongs to a ControlNet that there is */
function checkModels({ base, name, resolution }: TrainingInput, { models, controlnets }: Catalog): void {
  const model = models.find(({ id }) => id === base);
  if (model === undefined) {
    throw unknown("unknown_model", "base", `there is no model "${base}"${suggestion(base, models)}`);
  }
  if (!model.trainable) {
    const able = names(models.filter(({ trainable }) => trainable));
    const message = `no ControlNet can be trained for "${base}" here: it takes a folder of Stable Diffusion 1.x or 2.x that is not for inpainting, in a MODELS_DIR of your own; there are: ${able}`;
    throw unknown("model_not_trainable", "base", message);
  }
  const multiple = model.resolution_multiple;
  if (resolution % multiple !== 0) {
    const message = `${resolution} does not fit the model "${base}": it must be a multiple of ${multiple}`;
    throw unknown("field_does_not_fit", "resolution", message);
  }
  if (controlnets.some(({ id }) => id === name)) {
    const message = `there is a ControlNet "${name}" already`;
    throw new Refused(409, "name_taken", message, [{ path: "name", message }]);
  }
}
