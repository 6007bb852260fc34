/** The API of AUTOMATIC1111's web UI and of its ControlNet extension: what its clients send becomes a generation (docs/dialects.md). */
import type { FastifyInstance } from "fastify";
import type { FastifyPluginAsyncZod, ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { readTexts } from "../../image/png-text.ts";
import { closed } from "../../schema/closed.ts";
import { ownerOf } from "../auth.ts";
import type { Service } from "../parts.ts";
import { problem, problemOf, sendError } from "../problems.ts";
import { ImageToImageBody, TextToImageBody } from "./a1111/body.ts";
import { controlnetRoutes } from "./a1111/controlnet.ts";
import { asSource } from "./a1111/image-source.ts";
import { fieldsOf } from "./a1111/infotext.ts";
import { LISTS, NOT_THERE, NOTHING_TO_DO } from "./a1111/lists.ts";
import { make } from "./a1111/make.ts";
import { changed, keepOptions, readOptions, shownOptions } from "./a1111/options.ts";
import { interrupt, progressOf, progressOfTask } from "./a1111/progress.ts";
import { theirName } from "./a1111/translate.ts";
import { answerOther, NotMade, notOffered } from "./at-once.ts";

const hidden = { hide: true } as const;
const noQuery = { ...hidden, querystring: closed({}) };

export const a1111: FastifyPluginAsyncZod<Service> = async (app, service) => {
  const closing = new AbortController();
  app.addHook("preClose", async () => closing.abort());
  app.setErrorHandler((error: Error, request, reply) => {
    const { status, code, detail, errors } =
      error instanceof NotMade
        ? problem(error.code === "canceled" ? 409 : 500, error.code, error.message)
        : problemOf(error, request.log, request.routeOptions.bodyLimit);
    const { url } = request.routeOptions;
    const lines = errors.map(({ path, message }) => `${path === "" ? "the body" : theirName(path, url)}: ${message}`);
    const said = lines.length === 0 ? detail : lines.join("; ");
    const theirs = code === "invalid_request" ? 422 : status; // what does not fit a schema is 422 there
    return sendError(reply, theirs, "application/json", { error: code, detail: said, body: "", errors: said });
  });
  pictures(app, service, closing.signal);
  options(app, service);
  progress(app, service);
  lists(app, service);
  pngInfo(app, service);
  controlnetRoutes(app, service, closing.signal);
};

function pictures(instance: FastifyInstance, service: Service, closing: AbortSignal): void {
  const app = instance.withTypeProvider<ZodTypeProvider>();
  const config = { ownKeys: true };
  // Below /controlnet as the extension once had it: some clients still send units there.
  for (const root of ["/sdapi/v1", "/controlnet"]) {
    app.post(`${root}/txt2img`, { config, schema: { ...noQuery, body: TextToImageBody } }, (request, reply) =>
      make(service, request, reply, request.body, closing),
    );
    app.post(`${root}/img2img`, { config, schema: { ...noQuery, body: ImageToImageBody } }, (request, reply) =>
      make(service, request, reply, request.body, closing),
    );
  }
}

function options(instance: FastifyInstance, { queue, fleet }: Service): void {
  const app = instance.withTypeProvider<ZodTypeProvider>();
  app.get("/sdapi/v1/options", { schema: noQuery }, async (request) => {
    const catalog = await fleet.catalog();
    return shownOptions(await queue.ask((redis) => readOptions(redis, ownerOf(request), catalog)));
  });
  const body = z.record(z.string(), z.unknown());
  app.post("/sdapi/v1/options", { schema: { ...noQuery, body } }, async (request) => {
    const catalog = await fleet.catalog();
    const owner = ownerOf(request);
    const before = await queue.ask((redis) => readOptions(redis, owner, catalog));
    const after = changed(before, request.body, catalog);
    await queue.ask((redis) => keepOptions(redis, owner, after));
    return null;
  });
}

/** `"true"` of a query. */
const Flag = z.enum(["true", "false", "True", "False", "1", "0"]).transform((text) => /^(true|1)$/i.test(text));
const Task = z.string().max(200).optional();

function progress(instance: FastifyInstance, service: Service): void {
  const app = instance.withTypeProvider<ZodTypeProvider>();
  // Two spellings of one parameter: the second is what clients on npm send.
  const query = closed({ skip_current_image: Flag.optional(), skipCurrentImage: Flag.optional(), id_task: Task });
  app.get("/sdapi/v1/progress", { schema: { ...hidden, querystring: query } }, (request) => {
    const { skip_current_image, skipCurrentImage, id_task } = request.query;
    return progressOf(service, ownerOf(request), !(skip_current_image ?? skipCurrentImage ?? false), id_task);
  });
  const body = closed({
    id_task: z.string().max(200),
    id_live_preview: z.number().optional(),
    live_preview: z.boolean().optional(),
  });
  app.post("/internal/progress", { schema: { ...noQuery, body } }, (request) =>
    progressOfTask(service, ownerOf(request), request.body.id_task, request.body.live_preview ?? true),
  );
  app.get("/internal/ping", { schema: noQuery }, async () => ({}));
  app.post(
    "/sdapi/v1/interrupt",
    { schema: { ...hidden, querystring: closed({ id_task: Task }) } },
    async (request) => {
      await interrupt(service, ownerOf(request), request.query.id_task);
      return {};
    },
  );
}

function lists(app: FastifyInstance, { fleet }: Service): void {
  for (const [name, list] of Object.entries(LISTS)) {
    app.get(`/sdapi/v1/${name}`, { schema: noQuery }, async (_request, reply) =>
      reply.send(list(await fleet.catalog())),
    );
  }
  for (const name of NOTHING_TO_DO) {
    app.post(`/sdapi/v1/${name}`, { schema: noQuery }, async (_request, reply) => reply.send("null"));
  }
  for (const [name, why] of Object.entries(NOT_THERE)) {
    app.post(`/sdapi/v1/${name}`, { schema: noQuery }, async () => {
      throw notOffered(`/sdapi/v1/${name}`, why);
    });
  }
  app.all("/sdapi/v1/*", { schema: hidden, config: { catchesAll: true } }, async (request, reply) =>
    answerOther(request, reply),
  );
}

/** What a picture says of itself: the text that the web UI writes into a PNG. */
function pngInfo(instance: FastifyInstance, { imagesIn }: Service): void {
  const app = instance.withTypeProvider<ZodTypeProvider>();
  const body = closed({ image: z.string().min(1, "must be an image") });
  app.post("/sdapi/v1/png-info", { schema: { ...noQuery, body } }, async (request) => {
    const taken = await imagesIn.take(new Map([["image", asSource(request.body.image)]]), ownerOf(request));
    const { parameters: info = "", ...items } = readTexts(taken.get("image")!.bytes);
    return { info, items: { parameters: info, ...items }, parameters: fieldsOf(info) };
  });
}
