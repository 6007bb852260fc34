import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { SCHEDULER_FACTS } from "../schema/schedulers.ts";
import { ControlNet, Model, SCHEDULERS, Scheduler } from "../schema.ts";
import type { Parts } from "./app.ts";
import { problems } from "./openapi.ts";
import { listOf } from "./paging.ts";

const SCHEDULER_LIST = SCHEDULERS.map((id): Scheduler => {
  const { description, stochastic, evaluations, prediction_types, fields } = SCHEDULER_FACTS[id];
  const lists = { prediction_types: [...prediction_types], fields: [...fields] };
  return { id, object: "scheduler", description, stochastic, evaluations, ...lists };
});

const list = <T>(data: T[]) => ({ object: "list" as const, data, next_cursor: null });

/** What this installation offers: the models and ControlNets that its workers have, and the schedulers. */
export const catalog: FastifyPluginAsyncZod<Parts> = async (app, { queue }) => {
  const tags = ["catalog"];
  app.get(
    "/v1/models",
    {
      schema: {
        operationId: "listModels",
        summary: "The base models",
        tags,
        response: { 200: listOf(Model), ...problems(503) },
      },
    },
    async () => list((await queue.catalog()).models),
  );
  app.get(
    "/v1/controlnets",
    {
      schema: {
        operationId: "listControlNets",
        summary: "The ControlNets, and which models they fit",
        tags,
        response: { 200: listOf(ControlNet), ...problems(503) },
      },
    },
    async () => list((await queue.catalog()).controlnets),
  );
  app.get(
    "/v1/schedulers",
    {
      schema: {
        operationId: "listSchedulers",
        summary: "The schedulers",
        tags,
        response: { 200: listOf(Scheduler) },
      },
    },
    async () => list(SCHEDULER_LIST),
  );
};
