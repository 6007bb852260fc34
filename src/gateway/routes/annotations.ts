import type { FastifyReply, FastifyRequest } from "fastify";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../../errors.ts";
import { type AnnotationRecord, annotation } from "../../jobs/annotation.ts";
import { hasEnded } from "../../jobs/record.ts";
import { Annotation } from "../../schema/annotation.ts";
import { AnnotationInput } from "../../schema/annotation-request.ts";
import { MAX_WAIT_SECONDS } from "../../schema/fields.ts";
import { acceptedFormats, refuseOtherPictures } from "../accepted-picture.ts";
import { acceptAnnotation, findMap, waitForAnnotation } from "../annotate.ts";
import { ownerOf } from "../auth.ts";
import { takePlace } from "../event-stream.ts";
import { idempotencyHeader } from "../idempotency.ts";
import { binary, problems } from "../openapi.ts";
import type { Service } from "../parts.ts";
import { sendPicture } from "../picture.ts";
import { submitterOf } from "../submitter.ts";
import { preferredWait, untilNoLonger } from "../waiting.ts";
import { jobParams, jobRoutes } from "./jobs.ts";

const THE_MAP = binary("image/png");

export const annotations: FastifyPluginAsyncZod<Service> = async (app, service) => {
  const tags = ["annotations"];
  const closing = new AbortController();
  app.addHook("preClose", async () => closing.abort()); // whoever waits is answered as it stands

  app.post(
    "/v1/annotations",
    {
      config: { ownKeys: true },
      schema: {
        operationId: "createAnnotation",
        summary: "Create an annotation",
        description: `Makes the map of a picture, or of key points, that ControlNets are trained with. \`Prefer: wait=N\` holds the answer until the annotation has ended, for N seconds at most (more than ${MAX_WAIT_SECONDS} counts as ${MAX_WAIT_SECONDS}). With \`Accept: image/png\` the answer is the map itself, for which it waits.`,
        tags,
        headers: z.looseObject({
          ...idempotencyHeader,
          prefer: z.string().optional().describe("`wait=N`: answer when it has ended, or after N seconds."),
        }),
        body: AnnotationInput,
        response: {
          200: {
            description: "It has ended within the time of `Prefer: wait`; or the map, when that was asked for.",
            content: { "application/json": { schema: Annotation }, ...THE_MAP },
          },
          202: Annotation.describe("Accepted; it will end as succeeded, failed or canceled."),
          ...problems(400, 406, 409, 413, 422, 429, 503),
        },
      },
    },
    async (request, reply) => {
      const owner = ownerOf(request);
      refuseOtherPictures(request.headers.accept, ["png"]);
      const wantsMap = acceptedFormats(request.headers.accept).includes("png");
      const preferred = preferredWait(request.headers.prefer);
      const wait = preferred ?? (wantsMap ? MAX_WAIT_SECONDS : undefined);
      if (wait !== undefined) takePlace(service, owner, reply);
      const submitted = await acceptAnnotation(service, request.body, submitterOf(request));
      reply.header("Location", `${request.addresses.publicUrl}/v1/annotations/${submitted.id}`);
      if (preferred !== undefined) reply.header("Preference-Applied", `wait=${preferred}`);
      if (wait === undefined) return reply.code(202).send(annotation.show(submitted, request.addresses));
      const record = await waitForAnnotation(service, submitted, owner, untilNoLonger(reply, closing.signal, wait));
      if (closing.signal.aborted) reply.header("Connection", "close"); // kept alive, it would keep the gateway
      if (wantsMap && hasEnded(record)) return sendMap(request, reply, record);
      return reply.code(hasEnded(record) ? 200 : 202).send(annotation.show(record, request.addresses));
    },
  );

  /** The map as a file, without what is only told beside it. @throws {Refused} when there is none */
  async function sendMap(request: FastifyRequest, reply: FastifyReply, { id, status, error }: AnnotationRecord) {
    if (error !== null) throw new Refused(422, error.code, error.message);
    if (status !== "succeeded") throw new Refused(409, status, `the annotation "${id}" was ${status}`);
    return sendPicture(request, reply, await findMap(service, ownerOf(request), id, "0"));
  }

  jobRoutes(app, service, annotation);

  app.get(
    "/v1/annotations/:id/images/:n",
    {
      config: { anyQuery: true, signable: true },
      schema: {
        operationId: "getAnnotationImage",
        summary: "Get a map",
        description: "The file, as soon as the annotation has succeeded; its bytes never change.",
        tags,
        params: jobParams.extend({ n: z.string().describe("Which map: 0.") }),
        response: {
          200: { description: "The map.", content: THE_MAP },
          304: z.undefined().describe("The client has it already, by `If-None-Match`."),
          ...problems(403, 404, 503),
        },
      },
    },
    async (request, reply) => {
      const { id, n } = request.params;
      return sendPicture(request, reply, await findMap(service, ownerOf(request), id, n));
    },
  );
};
