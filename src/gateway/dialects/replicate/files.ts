/** Files: what Replicate's clients send first and name in a prediction's input. Here they are uploads, with a name. */
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { Redis } from "ioredis";
import { z } from "zod";
import { Refused } from "../../../errors.ts";
import { redisNow } from "../../../redis/time.ts";
import { closed } from "../../../schema/closed.ts";
import { hashOf } from "../../../storage/keys.ts";
import { REPLICATE } from "../../../webhooks/prediction.ts";
import { ownerOf } from "../../auth.ts";
import type { Service } from "../../parts.ts";
import { takeForms } from "../form.ts";
import { invalidInput } from "./request.ts";

const schema = { hide: true, querystring: closed({}) } as const;
const Uri = z.string().regex(/^data:[^,]*;base64,/, "must be a file of the form");
const FileForm = closed({
  content: Uri,
  metadata: z.string().max(20_000).optional(),
  filename: z.string().optional(),
  type: z.string().optional(),
});

const fileKey = (id: string) => `replicate:file:${id}`;
const filesKey = (owner: string) => `replicate:files:${owner}`;

/** As it is answered, and kept until its upload expires. */
type KeptFile = Record<string, unknown> & { id: string; expires_at: string };

const typeOf = (uri: string) => uri.slice("data:".length, uri.indexOf(";"));
const bytesOf = (uri: string) => Buffer.from(uri.slice(uri.indexOf(",") + 1), "base64");

function metadataOf(sent: string | undefined): unknown {
  if (sent === undefined) return {};
  const text = sent.startsWith("data:") ? bytesOf(sent).toString() : sent;
  try {
    return JSON.parse(text);
  } catch {
    throw invalidInput("metadata", "must be JSON");
  }
}

/** @throws {Refused} 404, also when it is another owner's */
async function find({ queue }: Service, owner: string, id: string): Promise<KeptFile> {
  const [score, kept] = await queue.ask((redis) =>
    Promise.all([redis.zscore(filesKey(owner), id), redis.get(fileKey(id))]),
  );
  if (score === null || kept === null) throw new Refused(404, "not_found", `there is no file "${id}"`);
  return JSON.parse(kept);
}

/** Those of an owner that have not expired, newest first. */
async function list(redis: Redis, owner: string): Promise<KeptFile[]> {
  await redis.zremrangebyscore(filesKey(owner), "-inf", await redisNow(redis));
  const ids = await redis.zrevrange(filesKey(owner), 0, 99);
  const kept = ids.length === 0 ? [] : await redis.mget(ids.map(fileKey));
  return kept.flatMap((text) => (text === null ? [] : [JSON.parse(text) as KeptFile]));
}

export function files(instance: FastifyInstance, service: Service): void {
  const { config, queue, uploads } = service;
  takeForms(instance);
  const app = instance.withTypeProvider<ZodTypeProvider>();
  app.post("/files", { schema: { ...schema, body: FileForm } }, async (request, reply) => {
    const owner = ownerOf(request);
    const { content, metadata } = request.body;
    const bytes = bytesOf(content);
    if (bytes.length > config.MAX_IMAGE_BYTES) {
      throw new Refused(
        413,
        "image_too_large",
        `the image has ${bytes.length} bytes: at most ${config.MAX_IMAGE_BYTES} are allowed`,
      );
    }
    const about = metadataOf(metadata);
    const { hash, width, height } = await service.imagesIn.check(bytes, owner, "content");
    const [sha256, md5] = [hash.slice("sha256:".length), await hashOf("md5", bytes)];
    const { id, createdAt, expiresAt } = await uploads.put(owner, bytes, {
      bytes: bytes.length,
      width,
      height,
      sha256,
    });
    const file: KeptFile = {
      id,
      name: request.body.filename ?? id,
      content_type: typeOf(content),
      size: bytes.length,
      etag: md5,
      checksums: { sha256, md5 },
      metadata: about,
      created_at: createdAt.toISOString(),
      expires_at: expiresAt.toISOString(),
      urls: { get: `${request.addresses.publicUrl}${REPLICATE}/files/${id}` },
    };
    const until = expiresAt.getTime();
    await queue.ask((redis) =>
      redis.multi().set(fileKey(id), JSON.stringify(file), "PXAT", until).zadd(filesKey(owner), until, id).exec(),
    );
    return reply.code(201).send(file);
  });
  app.get("/files", { schema }, async (request) => {
    const results = await queue.ask((redis) => list(redis, ownerOf(request)));
    return { previous: null, next: null, results };
  });
  const ofId = { ...schema, params: z.object({ id: z.string() }) };
  app.get("/files/:id", { schema: ofId }, (request) => find(service, ownerOf(request), request.params.id));
  app.delete("/files/:id", { schema: ofId }, async (request, reply) => {
    const owner = ownerOf(request);
    const { id } = await find(service, owner, request.params.id);
    await queue.ask((redis) => redis.multi().del(fileKey(id)).zrem(filesKey(owner), id).exec());
    await uploads.remove(owner, id);
    return reply.code(204).send();
  });
}
