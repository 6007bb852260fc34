import type { FastifyInstance } from "fastify";
import type { FastifyPluginAsyncZod, ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../../errors.ts";
import { Upload } from "../../schema/upload.ts";
import { archiveTypeOf } from "../../storage/archive-type.ts";
import type { Uploaded, UploadFacts } from "../../storage/uploads.ts";
import { ownerOf } from "../auth.ts";
import { problems } from "../openapi.ts";
import type { Service } from "../parts.ts";
import { ArchiveBody, notAnImage, readUploads, UPLOAD_TYPES } from "../upload-body.ts";

const SWEEP_MS = 600_000;
const tags = ["uploads"];

const shown = ({ id, createdAt, expiresAt }: Uploaded, { bytes, width, height, sha256 }: UploadFacts): Upload => ({
  id,
  object: "upload",
  bytes,
  width,
  height,
  sha256,
  created_at: createdAt.toISOString(),
  expires_at: expiresAt.toISOString(),
});

/** `/v1/uploads`, and the sweep that removes what has expired. */
export const uploads: FastifyPluginAsyncZod<Service> = async (app, service) => {
  const { uploads } = service;
  await app.register(async (plugin) => create(plugin, service)); // it alone reads bodies of its own kind
  byId(app, service);
  const sweep = () => uploads.sweep().catch((error) => app.log.warn({ err: error }, "sweep of uploads"));
  let timer: NodeJS.Timeout | undefined;
  app.addHook("onListen", async () => {
    timer = setInterval(sweep, SWEEP_MS).unref();
    void sweep();
  });
  app.addHook("onClose", async () => clearInterval(timer));
};

/** `POST /v1/uploads`. */
function create(app: FastifyInstance, { bounds, config, imagesIn, storage, uploads }: Service): void {
  readUploads(app, { storage, uploads }, config, bounds);
  app.withTypeProvider<ZodTypeProvider>().post(
    "/v1/uploads",
    {
      bodyLimit: config.MAX_IMAGE_BYTES, // of archives there may be more: upTo counts them
      schema: {
        operationId: "createUpload",
        summary: "Upload an image or a dataset",
        description:
          'The body is the image itself: PNG, JPEG, WebP or GIF, told by its content; or an archive to train on: zip, tar, or tar with gzip. `"upload:<id>"` then stands for it wherever a request takes an image, or a dataset, until it expires.',
        tags,
        consumes: UPLOAD_TYPES,
        body: z.any().meta({ type: "string", format: "binary" }),
        response: { 201: Upload, ...problems(400, 413, 422, 503) },
      },
    },
    async (request, reply) => {
      const body: unknown = request.body;
      const send = (uploaded: Uploaded, facts: UploadFacts) => {
        request.log.info({ upload: uploaded.id, bytes: facts.bytes }, "uploaded");
        return reply.code(201).send(shown(uploaded, facts));
      };
      if (body instanceof ArchiveBody) {
        const { bytes, sha256, head } = body.received;
        if (archiveTypeOf(head) === null) {
          throw new Refused(422, "not_an_archive", "the body is neither a zip nor a tar file, nor one with gzip");
        }
        const facts = { bytes, width: null, height: null, sha256 };
        return send(await uploads.putArchive(ownerOf(request), body.received, facts), facts);
      }
      if (!Buffer.isBuffer(body)) throw notAnImage();
      const { hash, width, height } = await imagesIn.check(body, ownerOf(request));
      const facts = { bytes: body.length, width, height, sha256: hash.slice("sha256:".length) };
      return send(await uploads.put(ownerOf(request), body, facts), facts);
    },
  );
}

/** `GET` and `DELETE /v1/uploads/{id}`. */
function byId(instance: FastifyInstance, { uploads }: Service): void {
  const app = instance.withTypeProvider<ZodTypeProvider>();
  const params = z.object({ id: z.string().describe("As returned when it was made.") });
  const unknown = (id: string) => new Refused(404, "not_found", `there is no upload "${id.slice(0, 200)}", or no more`);
  app.get(
    "/v1/uploads/:id",
    {
      schema: {
        operationId: "getUpload",
        summary: "Get an upload",
        description: "What it is, and until when it can be named; not its bytes.",
        tags,
        params,
        response: { 200: Upload, ...problems(404, 503) },
      },
    },
    async (request) => {
      const found = await uploads.describe(ownerOf(request), request.params.id);
      if (found === undefined) throw unknown(request.params.id);
      return shown(found, found);
    },
  );
  app.delete(
    "/v1/uploads/:id",
    {
      schema: {
        operationId: "deleteUpload",
        summary: "Delete an upload",
        description: "No request can name it any more; what was accepted before is not touched.",
        tags,
        params,
        response: { 204: z.undefined().describe("It is gone."), ...problems(404, 503) },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      if (!(await uploads.remove(ownerOf(request), id))) throw unknown(id);
      request.log.info({ upload: id }, "deleted");
      return reply.code(204).send(undefined);
    },
  );
}
