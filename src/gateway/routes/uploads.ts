import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { FastifyRequest } from "fastify";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { Refused } from "../../errors.ts";
import { Upload } from "../../schema/upload.ts";
import { archiveTypeOf } from "../../storage/archive-type.ts";
import type { Received } from "../../storage/storage.ts";
import type { Uploaded } from "../../storage/uploads.ts";
import { ownerOf } from "../auth.ts";
import { check } from "../images-in.ts";
import { problems } from "../openapi.ts";
import type { Service } from "../parts.ts";

const SWEEP_MS = 600_000;

const ARCHIVE = /^application\/(zip|x-zip-compressed|x-tar|gzip|x-gzip)$/;

/** An archive as a request's body. What idempotency compares of it is its content. */
class ArchiveBody {
  readonly received: Received;

  constructor(received: Received) {
    this.received = received;
  }

  toJSON(): string {
    return this.received.sha256;
  }
}

/** `POST /v1/uploads`, and the sweep that removes what has expired. */
export const uploads: FastifyPluginAsyncZod<Service> = async (app, { config, storage, uploads }) => {
  app.removeAllContentTypeParsers(); // those of this plugin alone
  app.addContentTypeParser(/^image\//, { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  app.addContentTypeParser(ARCHIVE, async (request: FastifyRequest, body: IncomingMessage) => {
    const most = config.MAX_ARCHIVE_BYTES;
    const announced = Number(request.headers["content-length"] ?? 0);
    if (announced > most) throw tooLarge(most);
    return new ArchiveBody(await storage.receive(upTo(most, body), announced));
  });
  app.addContentTypeParser("*", (_request, _body, done) => done(notAnImage()));
  app.addHook("onResponse", async ({ body }) => {
    if (body instanceof ArchiveBody) await storage.discard(body.received); // unless it was kept
  });

  app.post(
    "/v1/uploads",
    {
      bodyLimit: config.MAX_IMAGE_BYTES, // of archives there may be more: upTo counts them
      schema: {
        operationId: "createUpload",
        summary: "Upload an image or a dataset",
        description:
          'The body is the image itself: PNG, JPEG, WebP or GIF, told by its content; or an archive to train on: zip, tar, or tar with gzip. `"upload:<id>"` then stands for it wherever a request takes an image, or a dataset, until it expires.',
        tags: ["uploads"],
        consumes: [
          "image/png",
          "image/jpeg",
          "image/webp",
          "image/gif",
          "application/zip",
          "application/x-tar",
          "application/gzip",
        ],
        body: z.any().meta({ type: "string", format: "binary" }),
        response: { 201: Upload, ...problems(400, 413, 422, 503) },
      },
    },
    async (request, reply) => {
      const body: unknown = request.body;
      const send = (
        { id, createdAt, expiresAt }: Uploaded,
        about: Pick<Upload, "bytes" | "width" | "height" | "sha256">,
      ) => {
        request.log.info({ upload: id, bytes: about.bytes }, "uploaded");
        const created_at = createdAt.toISOString();
        return reply
          .code(201)
          .send({ id, object: "upload", ...about, created_at, expires_at: expiresAt.toISOString() });
      };
      if (body instanceof ArchiveBody) {
        const { bytes, sha256, head } = body.received;
        if (archiveTypeOf(head) === null) {
          throw new Refused(422, "not_an_archive", "the body is neither a zip nor a tar file, nor one with gzip");
        }
        return send(await uploads.putArchive(ownerOf(request), body.received), {
          bytes,
          width: null,
          height: null,
          sha256,
        });
      }
      if (!Buffer.isBuffer(body)) throw notAnImage();
      const { width, height } = await check(body, "", ownerOf(request));
      const sha256 = createHash("sha256").update(body).digest("hex");
      return send(await uploads.put(ownerOf(request), body), { bytes: body.length, width, height, sha256 });
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
  return new Refused(
    400,
    "not_an_image",
    "send the bytes of the image, with Content-Type: image/png or the like, or of an archive, with application/zip, application/x-tar or application/gzip",
  );
}

function tooLarge(most: number): Refused {
  return new Refused(413, "body_too_large", `an archive may have ${most} bytes at most`);
}

/** @throws {Refused} when there are more bytes than `most` */
async function* upTo(most: number, body: IncomingMessage): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of body.iterator({ destroyOnReturn: false })) {
    bytes += chunk.length;
    if (bytes > most) {
      body.resume(); // the rest is not wanted, but who sends it hears of that only when it is read
      throw tooLarge(most);
    }
    yield chunk;
  }
}
