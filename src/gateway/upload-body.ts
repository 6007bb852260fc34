/** The body of `POST /v1/uploads`: an image or an archive, as it is, by any type, or as the file of a form. */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Config } from "../config/config.ts";
import { Refused } from "../errors.ts";
import { archiveTypeOf } from "../storage/archive-type.ts";
import { HEAD, type Received, type Storage } from "../storage/storage.ts";
import type { Uploads } from "../storage/uploads.ts";
import { arriving, tooLargeBody, upTo } from "./arriving.ts";
import { ownerOf } from "./auth.ts";
import type { Bounds } from "./bounds.ts";
import { type FormPart, readForm } from "./form-parts.ts";
import { readBytes } from "./held.ts";

/** What the document says that is taken. */
export const UPLOAD_TYPES = [
  "image/png",
  "image/jpeg",
  "image/webp",
  "image/gif",
  "application/zip",
  "application/x-tar",
  "application/gzip",
  "application/octet-stream",
];

const ARCHIVE = /^application\/(zip|x-zip-compressed|x-tar|gzip|x-gzip)$/;

/** An archive as a request's body. What idempotency compares of it is its content. */
export class ArchiveBody {
  readonly received: Received;

  constructor(received: Received) {
    this.received = received;
  }

  toJSON(): string {
    return this.received.sha256;
  }
}

/** Makes a plugin read uploads: its routes get a Buffer, which should be an image, or an {@link ArchiveBody}. */
export function readUploads(
  app: FastifyInstance,
  { storage, uploads }: { storage: Storage; uploads: Uploads },
  { MAX_ARCHIVE_BYTES: most }: Pick<Config, "MAX_ARCHIVE_BYTES">,
  bounds: Bounds,
): void {
  const ofContent = async (bytes: Buffer) =>
    archiveTypeOf(bytes.subarray(0, HEAD)) === null ? bytes : new ArchiveBody(await storage.receive([bytes]));
  app.removeAllContentTypeParsers(); // those of this plugin alone
  app.addContentTypeParser(/^image\//, (request: FastifyRequest, body: IncomingMessage) => readBytes(request, body));
  app.addContentTypeParser(ARCHIVE, async (request: FastifyRequest, body: IncomingMessage) => {
    const announced = Number(request.headers["content-length"] ?? 0);
    if (announced > most) throw tooLargeBody(most, "the archive");
    await using _counted = await uploads.expect(ownerOf(request), announced || most);
    return new ArchiveBody(await storage.receive(upTo(most, "the archive", arriving(body, bounds)), announced));
  });
  app.addContentTypeParser("application/octet-stream", async (request: FastifyRequest, body: IncomingMessage) =>
    ofContent(await readBytes(request, body)),
  );
  app.addContentTypeParser("multipart/form-data", async (request: FastifyRequest, body: IncomingMessage) =>
    ofContent(fileOfForm(await readForm(request, body))),
  );
  app.addContentTypeParser("*", (_request, _body, done) => done(notAnImage()));
  app.addHook("onResponse", async ({ body }) => {
    if (body instanceof ArchiveBody) await storage.discard(body.received); // unless it was kept
  });
}

/** The one file of a form. @throws {Refused} */
function fileOfForm(parts: readonly FormPart[]): Buffer {
  const [part, ...more] = parts;
  if (part?.fileType === undefined || more.length > 0) {
    const message = "a form must have one field, `file`, that holds the file";
    throw new Refused(400, "invalid_request", message, [{ path: "file", message }]);
  }
  return part.content;
}

export function notAnImage(): Refused {
  return new Refused(
    400,
    "not_an_image",
    "send the bytes of the image, with Content-Type: image/png or the like, or of an archive, with application/zip, application/x-tar or application/gzip; or either with application/octet-stream, or as the field `file` of a form",
  );
}
