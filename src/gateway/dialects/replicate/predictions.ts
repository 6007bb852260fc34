/** Predictions: made, read, listed, canceled, followed. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { BEGINNING } from "../../../jobs/events.ts";
import { type GenerationRecord, generation } from "../../../jobs/generation.ts";
import { listRecords, ownerOfRecord } from "../../../jobs/list.ts";
import { hasEnded } from "../../../jobs/record.ts";
import { closed } from "../../../schema/closed.ts";
import { linkToken, opens } from "../../../webhooks/links.ts";
import { type Prediction, predictionOf, REPLICATE } from "../../../webhooks/prediction.ts";
import { findJob } from "../../accept.ts";
import { ownerOf } from "../../auth.ts";
import { sendEvents, takePlace } from "../../event-stream.ts";
import { follow } from "../../follow.ts";
import { findPicture, waitForGeneration } from "../../generate.ts";
import { paging } from "../../paging.ts";
import type { Service } from "../../parts.ts";
import { sendPicture } from "../../picture.ts";
import { preferredWait, untilNoLonger } from "../../waiting.ts";
import { acceptOf } from "../at-once.ts";
import { invalidInput, modelOf, PredictionBody, readInput } from "./request.ts";

const schema = { hide: true, querystring: closed({}) } as const;
const ofId = { ...schema, params: z.object({ id: z.string() }) };

/** A prediction as who asks sees it. */
type Shown = (request: FastifyRequest, record: GenerationRecord) => Promise<Prediction>;

export function predictions(instance: FastifyInstance, service: Service, closing: AbortSignal): void {
  const app = instance.withTypeProvider<ZodTypeProvider>();
  const { queue } = service;
  const shown: Shown = async ({ addresses }, record) =>
    predictionOf(record, addresses.publicUrl, await queue.ask((redis) => linkToken(redis, record.id)));
  const find = (request: FastifyRequest<{ Params: { id: string } }>) =>
    findJob(service, generation, ownerOf(request), request.params.id);

  creation(app, service, shown, closing);

  app.get("/predictions", { schema: { ...schema, querystring: closed(paging) } }, async (request) => {
    const { limit, cursor } = request.query;
    const page = { limit, before: cursor };
    const { data, next } = await queue.ask((redis) => listRecords(redis, generation, ownerOf(request), page));
    const results = await Promise.all(data.map((record) => shown(request, record)));
    const following = `${request.addresses.publicUrl}${REPLICATE}/predictions?cursor=${next}&limit=${limit}`;
    return { previous: null, next: next === undefined ? null : following, results };
  });
  app.get("/predictions/:id", { schema: ofId }, async (request) => shown(request, await find(request)));
  app.post("/predictions/:id/cancel", { schema: ofId }, async (request) => {
    const { id } = await find(request);
    await queue.cancel(id);
    return shown(request, await find(request));
  });
  withoutKey(app, service, closing);
}

/** The routes that make one: by version, by model, by deployment. */
function creation(instance: FastifyInstance, service: Service, shown: Shown, closing: AbortSignal): void {
  const app = instance.withTypeProvider<ZodTypeProvider>();
  const config = { ownKeys: true };
  const create = async (
    request: FastifyRequest,
    reply: FastifyReply,
    body: PredictionBody,
    field: string,
    said: string,
  ) => {
    if (request.headers["cancel-after"] !== undefined) {
      throw invalidInput("Cancel-After", "is not there here: POST …/cancel ends a prediction, and RUN_TIMEOUT each");
    }
    const model = modelOf(field, said, await service.fleet.catalog());
    const input = readInput(body, model, request.addresses.publicUrl);
    const wait = preferredWait(request.headers.prefer?.toString());
    if (wait !== undefined) takePlace(service, ownerOf(request), reply);
    const accepted = await acceptOf(service, "replicate", request, input);
    if (wait === undefined) return reply.code(201).send(await shown(request, accepted));
    const signal = untilNoLonger(reply, closing, wait);
    const record = await waitForGeneration(service, accepted, ownerOf(request), signal);
    reply.header("Preference-Applied", `wait=${wait}`);
    const prediction = await shown(request, record);
    // A client takes any other status than this one for an end.
    return reply.code(201).send(hasEnded(record) ? prediction : { ...prediction, status: "starting" });
  };
  app.post("/predictions", { config, schema: { ...schema, body: PredictionBody } }, (request, reply) => {
    const { body } = request;
    const said = body.version ?? body.model;
    if (said == null) throw invalidInput("version", "is required: owner/name, or a version of a model");
    return create(request, reply, body, body.version == null ? "model" : "version", said);
  });
  const params = z.object({ owner: z.string(), name: z.string() });
  for (const kind of ["models", "deployments"]) {
    const path = `/${kind}/:owner/:name/predictions`;
    app.post(path, { config, schema: { ...schema, params, body: PredictionBody } }, (request, reply) => {
      const { owner, name } = request.params;
      if (request.body.version != null) throw invalidInput("version", "is said by the address already");
      return create(request, reply, request.body, "model", `${owner}/${name}`);
    });
  }
}

/** What Replicate's clients open without a key: pictures and streams, whose addresses hold a token of their own. */
function withoutKey(instance: FastifyInstance, service: Service, closing: AbortSignal): void {
  const app = instance.withTypeProvider<ZodTypeProvider>();
  const { queue } = service;
  const options = { config: { open: true } };
  const querystring = z.looseObject({ token: z.string().max(100).default("") }); // with anything to get past a cache
  /** The owner of the job that a token opens; nobody, who has no jobs, when it opens none. */
  const opened = (id: string, token: string) =>
    queue.ask(async (redis) => ((await opens(redis, id, token)) ? ((await ownerOfRecord(redis, id)) ?? "") : ""));

  const ofPicture = { hide: true, querystring, params: z.object({ id: z.string(), n: z.string() }) };
  app.get("/predictions/:id/output/:n", { ...options, schema: ofPicture }, async (request, reply) => {
    const { id, n } = request.params;
    return sendPicture(request, reply, await findPicture(service, await opened(id, request.query.token), id, n));
  });
  const ofStream = { hide: true, querystring, params: z.object({ id: z.string() }) };
  app.get("/predictions/:id/stream", { ...options, schema: ofStream }, async (request, reply) => {
    const { id } = request.params;
    const owner = await opened(id, request.query.token);
    await findJob(service, generation, owner, id);
    takePlace(service, owner, reply);
    const gone = new AbortController();
    reply.raw.once("close", () => gone.abort());
    const signal = AbortSignal.any([gone.signal, closing]);
    return sendEvents(service, reply, tell(service, id, request.query.token, request.addresses.publicUrl, signal));
  });
}

/** The stream's text: each picture's address, then that it is done; or what went wrong. */
async function* tell(service: Service, id: string, token: string, publicUrl: string, signal: AbortSignal) {
  const text = (event: string, at: string, data: string) => `event: ${event}\nid: ${at}\ndata: ${data}\n\n`;
  for await (const event of follow(service, id, BEGINNING, signal)) {
    if (event === null) yield ": still there\n\n";
    else if (event.event === "failed") {
      yield text("error", event.id, JSON.stringify({ detail: event.data.error?.message ?? "" }));
    } else if (event.event === "succeeded" || event.event === "canceled") {
      const { output } = predictionOf(event.data as GenerationRecord, publicUrl, token);
      for (const [n, url] of (output ?? []).entries()) yield text("output", `${event.id}:${n}`, url);
      yield text("done", event.id, event.event === "canceled" ? '{"reason": "canceled"}' : "{}");
    }
  }
}
