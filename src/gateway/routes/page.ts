/** `/` and `/playground`: the page to try the service in a browser. Its files lie in `../page` and are sent as they are. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import type { Service } from "../parts.ts";

const FOLDER = join(import.meta.dirname, "../page");
/** What the page begins with where the demo is served; a gateway that is installed without the demo has no such file. */
const FIRST_REQUEST = join(import.meta.dirname, "../../../demo/first-request.json");

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
  ".json": "application/json; charset=utf-8",
};

const HEADERS = {
  // Pictures are fetched with the key and shown as blob:, previews and control images are data:.
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cache-Control": "no-cache", // asked for anew each time, by its ETag: a new release shows at once
};

interface PageFile {
  bytes: Buffer;
  type: string;
  etag: string;
}

/** The page's files by name, read once. */
function readFiles(): Map<string, PageFile> {
  const paths = readdirSync(FOLDER)
    .filter((name) => extname(name) in TYPES && name !== "tsconfig.json")
    .map((name) => [name, join(FOLDER, name)] as const);
  const files = new Map<string, PageFile>();
  for (const [name, path] of [...paths, ["first-request.json", FIRST_REQUEST] as const]) {
    const bytes = readIfThere(path);
    if (bytes === undefined) continue;
    const etag = `"${createHash("sha256").update(bytes).digest("base64url")}"`;
    files.set(name, { bytes, type: TYPES[extname(name)]!, etag });
  }
  return files;
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

export const page: FastifyPluginAsyncZod<Service> = async (app) => {
  const files = readFiles();
  const send = (name: string, request: FastifyRequest, reply: FastifyReply) => {
    const file = files.get(name);
    if (file === undefined) return reply.callNotFound();
    reply.headers(HEADERS).header("ETag", file.etag);
    if (request.headers["if-none-match"] === file.etag) return reply.code(304).send();
    return reply.type(file.type).send(file.bytes);
  };
  const options = { schema: { hide: true }, config: { open: true }, logLevel: "warn" as const };
  app.get("/", options, (request, reply) => send("index.html", request, reply));
  app.get("/playground", options, (request, reply) => send("index.html", request, reply));
  app.get<{ Params: { "*": string } }>("/page/*", options, (request, reply) =>
    send(request.params["*"], request, reply),
  );
};
