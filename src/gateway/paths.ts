/** Paths as clients and proxies spell them, and what becomes of a method that a path does not have. */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance } from "fastify";
import { problem, sendProblem } from "./problems.ts";

/** `//v1/models/` is `/v1/models`: people join addresses by hand. */
export const routerOptions = { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true } as const;

/** Takes the path of PUBLIC_URL away from a request's, for a proxy that adds it to the outside and passes it on. */
export function withoutPrefix(publicUrl: string): (request: IncomingMessage) => string {
  const prefix = new URL(publicUrl).pathname.replace(/\/+$/, "");
  return ({ url = "/" }) => {
    if (prefix === "" || !url.startsWith(prefix)) return url;
    const rest = url.slice(prefix.length);
    if (rest === "" || rest.startsWith("?")) return `/${rest}`;
    return rest.startsWith("/") ? rest : url;
  };
}

/** `/v1/models/:id` as what its addresses match. */
function patternOf(path: string): RegExp {
  const parts = path.split("/").map((part) => {
    if (part === "*") return ".*";
    return part.startsWith(":") ? "[^/]+" : part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  });
  return new RegExp(`^${parts.join("/")}/?$`);
}

declare module "fastify" {
  interface FastifyContextConfig {
    /** Answers whatever no other route takes: it says nothing of what there is. */
    catchesAll?: boolean;
  }
  interface FastifyInstance {
    /** The methods that the routes of a path take; none where there is no such path. */
    methodsOf(url: string): string[];
  }
}

/** Answers what no route takes: 405 with `Allow` where there are other methods, `OPTIONS` with them, else 404. Before all routes. */
export function answerUnknown(app: FastifyInstance): void {
  const known = new Map<string, { pattern: RegExp; methods: Set<string> }>();
  app.addHook("onRoute", ({ url, method, config }) => {
    if (config?.catchesAll) return;
    const { pattern, methods } = known.get(url) ?? { pattern: patternOf(url), methods: new Set(["OPTIONS"]) };
    known.set(url, { pattern, methods });
    for (const one of [method].flat()) methods.add(one);
  });
  const pathOf = (url: string) => url.split("?")[0]!.replace(/\/{2,}/g, "/");
  app.decorate("methodsOf", (url: string) => {
    const found = [...known.values()].filter(({ pattern }) => pattern.test(pathOf(url)));
    return [...new Set(found.flatMap(({ methods }) => [...methods]))].sort();
  });
  app.setNotFoundHandler((request, reply) => {
    const path = pathOf(request.url);
    const methods = app.methodsOf(path);
    // A route that has the method found nothing there itself.
    if (methods.length === 0 || (request.method !== "OPTIONS" && methods.includes(request.method))) {
      return sendProblem(reply, problem(404, "not_found", `there is no ${request.method} ${path}`));
    }
    const allow = methods.join(", ");
    reply.header("Allow", allow);
    if (request.method === "OPTIONS") return reply.code(204).send();
    const detail = `there is no ${request.method} ${path}; it has ${allow}`;
    return sendProblem(reply, problem(405, "method_not_allowed", detail));
  });
}
