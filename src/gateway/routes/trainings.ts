import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../../errors.ts";
import { training } from "../../jobs/training.ts";
import { Training } from "../../schema/training.ts";
import { TrainingInput } from "../../schema/training-request.ts";
import { lossKey, validationKey } from "../../storage/keys.ts";
import { findJob } from "../accept.ts";
import { ownerOf } from "../auth.ts";
import { idempotencyHeader } from "../idempotency.ts";
import { binary, problems } from "../openapi.ts";
import type { Service } from "../parts.ts";
import { submitterOf } from "../submitter.ts";
import { acceptTraining } from "../train.ts";
import { jobParams, jobRoutes } from "./jobs.ts";

export const trainings: FastifyPluginAsyncZod<Service> = async (app, service) => {
  const { storage } = service;
  const tags = ["trainings"];

  app.post(
    "/v1/trainings",
    {
      config: { ownKeys: true },
      schema: {
        operationId: "createTraining",
        summary: "Create a training",
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
      const record = await acceptTraining(service, request.body, submitterOf(request));
      reply.header("Location", `${request.addresses.publicUrl}/v1/trainings/${record.id}`);
      return reply.code(202).send(training.show(record, request.addresses));
    },
  );

  jobRoutes(app, service, training);

  app.get(
    "/v1/trainings/:id/validation/:step/:index",
    {
      config: { anyQuery: true, signable: true },
      schema: {
        operationId: "getTrainingPicture",
        summary: "Get a validation picture",
        description: "A PNG that the ControlNet made when the training was saved at this step.",
        tags,
        params: jobParams.extend({
          step: z.string().describe("At which step, one at which the training was saved."),
          index: z.string().describe("Which of the request's `validation`, from 0."),
        }),
        response: { 200: file("image/png", "The picture."), ...problems(403, 404, 503) },
      },
    },
    async (request, reply) => {
      const { id, step, index } = request.params;
      await findJob(service, training, ownerOf(request), id);
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
        config: type === "png" ? { anyQuery: true, signable: true } : {},
        schema: {
          operationId: `getTrainingLoss${type === "csv" ? "Csv" : "Png"}`,
          summary: type === "csv" ? "Get the loss of every step" : "Get the curve of the loss",
          description: "As of when the training was last saved.",
          tags,
          params: jobParams,
          response: { 200: file(content, what), ...problems(...(type === "png" ? ([403] as const) : []), 404, 503) },
        },
      },
      async (request, reply) => {
        const { id } = await findJob(service, training, ownerOf(request), request.params.id);
        const loss = await storage.stream(lossKey(id, type));
        if (loss === undefined) throw new Refused(404, "not_found", "the training has not been saved yet");
        request.raw.socket.setTimeout(service.bounds.writeMs); // a client that does not read is dropped
        reply.raw.once("close", () => loss.pieces.destroy()); // a HEAD reads nothing
        reply.header("Cache-Control", "no-cache").header("Content-Length", loss.bytes);
        return reply.type(content).send(loss.pieces);
      },
    );
  }
};

const file = (type: string, description: string) => ({
  description,
  content: type === "text/csv" ? { [type]: { schema: z.any().meta({ type: "string" }) } } : binary(type),
});
