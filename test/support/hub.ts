/** A hub on this machine, of the protocol of Hugging Face's: its large files lie on another host that it redirects to. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

/** How a repository's files are given, by their paths; everything as it should be where nothing is said. */
export interface Manners {
  /** Bytes after which each answer stops, until cut() closes its connection; 0 = it is closed at once. */
  readonly cutAfter?: number;
  readonly ignoresRanges?: boolean;
  /** Other bytes than those that are announced. */
  readonly spoiled?: readonly string[];
  /** Without the token, nothing. */
  readonly token?: string;
  readonly redirectsTo?: string;
}

export interface LocalHub {
  readonly endpoint: string;
  /** What was asked for: `hub /path` or `store /path`, with the token that came along and the range. */
  readonly requests: { path: string; token: string | undefined; range: string | undefined }[];
  manners: Manners;
  /** Closes the connections of answers that have stopped. */
  cut(): void;
  close(): Promise<void>;
}

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
/** Smaller files lie in git itself. */
const LFS_BYTES = 10_000;
const sum = (algorithm: string, ...parts: (string | Uint8Array)[]) =>
  parts.reduce((hash, part) => hash.update(part), createHash(algorithm)).digest("hex");

export function filesBelow(dir: string): Map<string, Uint8Array> {
  const entries = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    entries.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path.slice(dir.length + 1), new Uint8Array(readFileSync(path))];
    }),
  );
}

function entry([path, content]: [string, Uint8Array]) {
  const size = content.length;
  const pointer = { type: "file", path, size, oid: sum("sha1", `blob ${size}\0`, content) };
  return size < LFS_BYTES ? pointer : { ...pointer, oid: "f".repeat(40), lfs: { oid: sum("sha256", content), size } };
}

const listen = async (server: Server): Promise<string> => {
  await once(server.listen(0, "127.0.0.1"), "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

/** @param repositories by name: their files by path */
export async function localHub(repositories: ReadonlyMap<string, ReadonlyMap<string, Uint8Array>>): Promise<LocalHub> {
  const stopped: ServerResponse[] = [];
  const note = (host: string, { url, headers }: IncomingMessage) =>
    hub.requests.push({ path: `${host} ${url}`, token: headers.authorization, range: headers.range });

  function give(request: IncomingMessage, response: ServerResponse, name: string, path: string): void {
    const { cutAfter, ignoresRanges, spoiled } = hub.manners;
    const whole = repositories.get(name)!.get(path)!;
    const content = spoiled?.includes(path) ? whole.map((byte) => byte ^ 1) : whole;
    const from = ignoresRanges ? 0 : Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const rest = content.subarray(from);
    const range = `bytes ${from}-${content.length - 1}/${content.length}`;
    response.writeHead(from > 0 ? 206 : 200, { "Content-Length": rest.length, "Content-Range": range });
    if (cutAfter === undefined || cutAfter >= rest.length) response.end(rest);
    else if (cutAfter === 0) response.destroy();
    else {
      response.write(rest.subarray(0, cutAfter));
      stopped.push(response);
    }
  }

  const store = createServer((request, response) => {
    note("store", request);
    const [org, name, ...path] = decodeURIComponent(request.url!.slice(1)).split("/");
    give(request, response, `${org}/${name}`, path.join("/"));
  });
  const stored = await listen(store);

  const front = createServer((request, response) => {
    note("hub", request);
    const url = new URL(request.url!, "http://hub");
    const answer = (status: number, body: unknown) =>
      response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
    const { token, redirectsTo } = hub.manners;
    if (token !== undefined && request.headers.authorization !== `Bearer ${token}`) {
      answer(401, { error: "Invalid username or password." });
      return;
    }
    const api = /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\//.exec(url.pathname);
    const resolve = /^\/([^/]+\/[^/]+)\/resolve\/[^/]+\/(.+)$/.exec(url.pathname);
    const name = (api ?? resolve)?.[1] ?? "";
    const files = repositories.get(name);
    if (files === undefined) {
      answer(404, { error: "Repository not found" });
    } else if (api !== null && api[2] === "revision") {
      answer(200, { _id: "1", id: name, sha: COMMIT, cardData: { license: "creativeml-openrail-m" }, tags: [] });
    } else if (api !== null) {
      const all = [{ type: "directory", path: "unet", size: 0, oid: "" }, ...[...files].map(entry)];
      // Two pages, as of a large repository.
      const page = Number(url.searchParams.get("cursor") ?? 0);
      const half = Math.ceil(all.length / 2);
      if (page === 0) response.setHeader("Link", `<${hub.endpoint}${url.pathname}?cursor=1>; rel="next"`);
      answer(200, page === 0 ? all.slice(0, half) : all.slice(half));
    } else {
      const path = decodeURIComponent(resolve![2]!);
      const content = files.get(path);
      if (content === undefined) answer(404, { error: "Entry not found" });
      else if (content.length < LFS_BYTES) give(request, response, name, path);
      else response.writeHead(302, { Location: redirectsTo ?? `${stored}/${name}/${path}` }).end();
    }
  });
  const hub: LocalHub = {
    endpoint: await listen(front),
    requests: [],
    manners: {},
    cut() {
      for (const response of stopped.splice(0)) response.destroy();
    },
    async close() {
      for (const server of [front, store]) {
        server.closeAllConnections();
        await new Promise((closed) => server.close(closed));
      }
    },
  };
  return hub;
}
