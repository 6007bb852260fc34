/** The configuration: environment variables, checked and typed. The names are those of the variables. */
import { isIPv6 } from "node:net";
import { join, resolve } from "node:path";
import { z } from "zod";
import { ConfigError } from "./errors.ts";

/** A folder with tiny random networks: what `npm start` serves until it is told where models are. */
export const NOISE_MODELS_DIR = join(import.meta.dirname, "../test/fixtures/sd15");

const bytes = z.coerce.number().int().positive();
const seconds = z.coerce.number().int().positive();
const folder = z.string().transform((path) => resolve(path));

const Environment = z.object({
  PORT: z.coerce.number().int().min(1).max(65535).default(8080),
  HOST: z
    .string()
    .default("127.0.0.1")
    .refine(isLoopback, "must be a loopback address (127.0.0.1, ::1, localhost): there is no authentication yet"),
  PUBLIC_URL: z.url({ protocol: /^https?$/ }).optional(),
  MODELS_DIR: folder.default(NOISE_MODELS_DIR),
  DATA_DIR: folder.default(resolve("data")),
  REDIS_URL: z
    .string()
    .regex(/^(rediss?:\/\/|\/)/, "must start with redis:// or rediss://, or be the path of a unix socket")
    .optional(),
  EXECUTION_PROVIDER: z.enum(["auto", "cpu", "cuda", "webgpu"]).default("auto"),
  MAX_PIXELS: z.coerce
    .number()
    .int()
    .min(64)
    .default(2048 * 2048),
  MAX_BODY_BYTES: bytes.default(32 * 1024 * 1024),
  MAX_IMAGE_BYTES: bytes.default(16 * 1024 * 1024),
  /** How long an upload can be named in a request, in seconds. */
  UPLOAD_TTL: seconds.default(24 * 3600),
  /** Hosts that images and webhooks may lead to although their address is private or the scheme is http. */
  ALLOW_HOSTS: z
    .string()
    .default("")
    .transform((list, ctx) => list.split(/[\s,]+/).flatMap((entry) => (entry === "" ? [] : hostAndPort(entry, ctx)))),
  MAX_TAKEOVERS: z.coerce.number().int().min(0).default(5),
  LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]).default("info"),
});

export type Config = z.infer<typeof Environment> & { PUBLIC_URL: string };

/**
 * @throws {ConfigError} naming every variable whose value cannot be used. An empty variable counts as unset.
 */
export function readConfig(env: Record<string, string | undefined>): Config {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ""));
  const { data, error } = Environment.safeParse(set);
  if (error) {
    const wrong = error.issues.map(({ path, message }) => `${path.join(".")}=${set[String(path[0])]}: ${message}`);
    throw new ConfigError(wrong.join("\n"));
  }
  const host = data.HOST.includes(":") ? `[${data.HOST}]` : data.HOST;
  return { ...data, PUBLIC_URL: data.PUBLIC_URL?.replace(/\/+$/, "") ?? `http://${host}:${data.PORT}` };
}

/** The configuration of a process that needs a Redis to be named, which only `npm start` does not. */
export function readConfigWithRedis(env: Record<string, string | undefined>): Config & { REDIS_URL: string } {
  const config = readConfig(env);
  if (config.REDIS_URL === undefined) {
    throw new ConfigError(
      "REDIS_URL is not set: name a Redis (redis://host:6379), or use npm start, which brings its own",
    );
  }
  return { ...config, REDIS_URL: config.REDIS_URL };
}

/** `host` or `host:port`, an IPv6 address with or without brackets. `hostname` is as URLs spell it, but for the brackets. */
function hostAndPort(entry: string, ctx: z.RefinementCtx): { hostname: string; port: number | null } {
  const text = isIPv6(entry) ? `[${entry}]` : entry;
  const url = URL.parse(`http://${text}`);
  if (url === null || url.href !== `http://${url.host}/`) {
    ctx.addIssue({ code: "custom", message: `"${entry}" is neither a host nor host:port` });
    return z.NEVER;
  }
  const port = /:(\d+)$/.exec(text)?.[1]; // not the URL's, which leaves 80 out
  return { hostname: url.hostname.replace(/^\[|\]$/g, ""), port: port === undefined ? null : Number(port) };
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
