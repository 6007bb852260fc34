import { createHash } from "node:crypto";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../errors.ts";
import { Upload } from "../schema.ts";
import type { Uploads } from "../uploads.ts";
import type { Parts } from "./app.ts";
import { check } from "./images.ts";
import { problems } from "./openapi.ts";
import { ownerOf } from "./owner.ts";

const SWEEP_MS = 600_000;

/** `POST /v1/uploads`, and the sweep that removes what has expired. */
export const uploads: FastifyPluginAsyncZod<Parts & { uploads: Uploads }> = async (app, { config, uploads }) => {
  app.removeAllContentTypeParsers(); // those of this plugin alone
  app.addContentTypeParser(/^image\//, { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  app.addContentTypeParser("*", (_request, _body, done) => done(notAnImage()));

  app.post(
    "/v1/uploads",
    {
      bodyLimit: config.MAX_IMAGE_BYTES,
      schema: {
        operationId: "createUpload",
        summary: "Send an image once, and name it in requests",
        description:
          'The body is the image itself: PNG, JPEG, WebP or GIF, told by its content. `"upload:<id>"` then stands for it wherever a request takes an image, until it expires.',
        tags: ["uploads"],
        consumes: ["image/png", "image/jpeg", "image/webp", "image/gif"],
        body: z.any().meta({ type: "string", format: "binary" }),
        response: { 201: Upload, ...problems(400, 413, 422) },
      },
    },
    async (request, reply) => {
      const bytes: unknown = request.body;
      if (!Buffer.isBuffer(bytes)) throw notAnImage();
      const { width, height } = await check(bytes, "");
      const { id, createdAt, expiresAt } = await uploads.put(ownerOf(request), bytes);
      request.log.info({ upload: id, bytes: bytes.length }, "uploaded");
      return reply.code(201).send({
        id,
        object: "upload",
        bytes: bytes.length,
        width,
        height,
        sha256: createHash("sha256").update(bytes).digest("hex"),
        created_at: createdAt.toISOString(),
        expires_at: expiresAt.toISOString(),
      });
    },
  );

  const sweep = () => uploads.sweep().catch((error) => app.log.warn({ err: error }, "sweep of uploads"));
  let timer: NodeJS.Timeout | undefined;
  app.addHook("onListen", async () => {
    timer = setInterval(sweep, SWEEP_MS).unref();
    void sweep();
  });
  app.addHook("onClose", async () => clearInterval(timer));
};

function notAnImage(): Refused {
  return new Refused(400, "not_an_image", "send the bytes of the image, with Content-Type: image/png or the like");
}
