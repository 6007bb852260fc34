import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../../errors.ts";
import { generation } from "../../jobs/generation.ts";
import { hasEnded } from "../../jobs/record.ts";
import { MOST_SHOWN } from "../../schema/closed.ts";
import { meantByItself } from "../../schema/field-names.ts";
import { MAX_WAIT_SECONDS } from "../../schema/fields.ts";
import { Generation } from "../../schema/generation.ts";
import { CONTENT_TYPES, GenerationInput } from "../../schema/generation-request.ts";
import { ownerOf } from "../auth.ts";
import { takePlace } from "../event-stream.ts";
import { acceptGeneration, findControlMap, findPicture, waitForGeneration } from "../generate.ts";
import { letGo } from "../held.ts";
import { idempotencyHeader } from "../idempotency.ts";
import { checkFormat, chooseFormat, sendEnded, withBytes } from "../inline.ts";
import { binary, problems } from "../openapi.ts";
import type { Service } from "../parts.ts";
import { sendPicture } from "../picture.ts";
import { submitterOf } from "../submitter.ts";
import { preferredWait, untilNoLonger } from "../waiting.ts";
import { jobParams, jobRoutes } from "./jobs.ts";

/** A query to get past a cache may have any name but one that is nearly that of the parameter. @throws {Refused} */
function refuseSlips(query: object): void {
  for (const name of Object.keys(query).filter((one) => one !== "picture")) {
    const meant = meantByItself(name.slice(0, MOST_SHOWN), ["picture"]);
    if (meant === null) continue;
    const message = `unknown field "${name.slice(0, MOST_SHOWN)}", ${meant}`;
    throw new Refused(400, "invalid_request", message, [{ path: name.slice(0, MOST_SHOWN), message }]);
  }
}

/** What a picture is sent as. */
const PICTURES = binary(...Object.values(CONTENT_TYPES));

export const generations: FastifyPluginAsyncZod<Service> = async (app, service) => {
  const tags = ["generations"];
  const closing = new AbortController();
  app.addHook("preClose", async () => closing.abort()); // whoever waits is answered as it stands

  app.post(
    "/v1/generations",
    {
      config: { ownKeys: true },
      preValidation: chooseFormat,
      schema: {
        operationId: "createGeneration",
        summary: "Create a generation",
        description: `\`Prefer: wait=N\` holds the answer until the generation has ended, for N seconds at most (more than ${MAX_WAIT_SECONDS} counts as ${MAX_WAIT_SECONDS}). Together with \`Accept: image/png\`, \`image/webp\` or \`image/jpeg\` it then is the first picture itself: \`X-Generation-Id\` and \`X-Seed\` name where it comes from, and what failed is a problem.`,
        tags,
        headers: z.looseObject({
          ...idempotencyHeader,
          prefer: z.string().optional().describe("`wait=N`: answer when it has ended, or after N seconds."),
        }),
        body: GenerationInput,
        response: {
          200: {
            description:
              "It has ended within the time of `Prefer: wait`: succeeded, failed or canceled. With `Accept: image/png` or the like: its first picture.",
            content: { "application/json": { schema: Generation }, ...PICTURES },
          },
          202: Generation.describe("Accepted; it will end as succeeded, failed or canceled."),
          ...problems(400, 406, 409, 413, 422, 429, 500, 503),
        },
      },
    },
    async (request, reply) => {
      const owner = ownerOf(request);
      checkFormat(request, request.body);
      const wait = preferredWait(request.headers.prefer);
      if (wait !== undefined) takePlace(service, owner, reply);
      const submitted = await acceptGeneration(service, request.body, submitterOf(request));
      letGo(request);
      reply.header("Location", `${request.addresses.publicUrl}/v1/generations/${submitted.id}`);
      if (wait !== undefined) reply.header("Preference-Applied", `wait=${wait}`);
      if (wait === undefined) return reply.code(202).send(generation.show(submitted, request.addresses));
      const signal = untilNoLonger(reply, closing.signal, wait);
      const record = await waitForGeneration(service, submitted, owner, signal);
      if (closing.signal.aborted) reply.header("Connection", "close"); // kept alive, it would keep the gateway
      if (hasEnded(record)) return sendEnded(service, request, reply.code(200), record);
      return reply.code(202).send(generation.show(record, request.addresses));
    },
  );

  jobRoutes(app, service, generation, (record, request) => withBytes(service, request, record));

  app.get(
    "/v1/generations/:id/images/:n",
    {
      config: { anyQuery: true, signable: true }, // people append a query to get past a cache
      schema: {
        operationId: "getGenerationImage",
        summary: "Get a picture",
        description: "The file, as soon as the generation has succeeded; its bytes never change.",
        tags,
        params: jobParams.extend({ n: z.string().describe("Which picture, from 0.") }),
        response: {
          200: { description: "The picture, in the request's output_format.", content: PICTURES },
          206: { description: "The part of it that `Range` asks for.", content: PICTURES },
          304: z.undefined().describe("The client has it already, by `If-None-Match`."),
          ...problems(403, 404, 416, 503),
        },
      },
    },
    async (request, reply) => {
      const { id, n } = request.params;
      return sendPicture(request, reply, await findPicture(service, ownerOf(request), id, n));
    },
  );

  app.get(
    "/v1/generations/:id/controls/:n",
    {
      config: { anyQuery: true, signable: true },
      schema: {
        operationId: "getGenerationControl",
        summary: "Get a control image that an annotator made",
        description: "At the size of the pictures, as the ControlNet was shown it; its bytes never change.",
        tags,
        params: jobParams.extend({ n: z.string().describe("Which of the request's controls, from 0.") }),
        querystring: z.looseObject({
          picture: z.coerce
            .number()
            .int()
            .min(0)
            .optional()
            .describe("Which picture's, where each has its own; absent = the first's.")
            .meta({ examples: [0] }),
        }),
        response: {
          200: { description: "The control image.", content: binary("image/png") },
          304: z.undefined().describe("The client has it already, by `If-None-Match`."),
          ...problems(400, 403, 404, 503),
        },
      },
    },
    async (request, reply) => {
      refuseSlips(request.query);
      const which = { ...request.params, picture: request.query.picture };
      return sendPicture(request, reply, await findControlMap(service, ownerOf(request), which));
    },
  );
};
