/** The configuration: environment variables, checked and typed. The names are those of the variables. */
import { readFileSync } from "node:fs";
import { isIP, isIPv6 } from "node:net";
import { join, resolve } from "node:path";
import { z } from "zod";
import { ConfigError } from "../errors.ts";
import { ApiKey, parseKeys, SAFETY_MODES } from "./api-keys.ts";

/** The project's own small Stable Diffusion and its ControlNets: what `npm start` serves until it is told where models are. */
export const DEMO_MODELS_DIR = join(import.meta.dirname, "../../demo/checkpoint");

const bytes = z.coerce.number().int().positive();
const seconds = z.coerce.number().int().positive();
/** APIs of other systems that can be spoken: src/gateway/dialects. */
export const DIALECTS = ["openai", "a1111", "replicate"] as const;
export type Dialect = (typeof DIALECTS)[number];

/** A path, of a folder or a file. */
const folder = z.string().transform((path) => resolve(path));

const Environment = z.object({
  PORT: z.coerce.number().int().min(1).max(65535).default(8080),
  HOST: z.string().default("127.0.0.1"),
  PUBLIC_URL: z.url({ protocol: /^https?$/ }).optional(),
  MODELS_DIR: folder.default(DEMO_MODELS_DIR),
  DATA_DIR: folder.default(resolve("data")),
  REDIS_URL: z
    .string()
    .regex(/^(rediss?:\/\/|\/)/, "must start with redis:// or rediss://, or be the path of a unix socket")
    .optional(),
  EXECUTION_PROVIDER: z.enum(["auto", "cpu", "cuda", "webgpu"]).default("auto"),
  /** What a worker computes U-Nets and ControlNets in; int8 on the CPU alone, float16 on accelerators. */
  PRECISION: z.enum(["float32", "int8", "float16"]).default("float32"),
  /** Bytes of weights, as they are in memory, that a worker keeps loaded; unset = half of the memory it may have. */
  MEMORY_BUDGET: bytes.optional(),
  MAX_PIXELS: z.coerce
    .number()
    .int()
    .min(64)
    .default(2048 * 2048),
  MAX_BODY_BYTES: bytes.default(32 * 1024 * 1024),
  MAX_IMAGE_BYTES: bytes.default(16 * 1024 * 1024),
  /** The most bytes of an archive that is uploaded to train on. */
  MAX_ARCHIVE_BYTES: bytes.default(1024 * 1024 * 1024),
  /** The most bytes of what such an archive unpacks to. */
  MAX_DATASET_BYTES: bytes.default(8 * 1024 * 1024 * 1024),
  /** A folder of datasets that trainings may name as `folder:<name>`; a trainer's; where a gateway has it, it checks the names. Unset = none. */
  DATASETS_DIR: folder.optional(),
  /** How long an upload can be named in a request, in seconds. */
  UPLOAD_TTL: seconds.default(24 * 3600),
  /** Hosts that images and webhooks may lead to although their address is private or the scheme is http. */
  ALLOW_HOSTS: z
    .string()
    .default("")
    .transform((list, ctx) => list.split(/[\s,]+/).flatMap((entry) => (entry === "" ? [] : hostAndPort(entry, ctx)))),
  /** Proxies whose X-Forwarded-* are believed: addresses, networks (10.0.0.0/8), loopback, linklocal, uniquelocal; unset = none. */
  TRUST_PROXY: z
    .string()
    .default("")
    .transform((list, ctx) => list.split(/[\s,]+/).flatMap((entry) => (entry === "" ? [] : networkOf(entry, ctx)))),
  API_KEYS: z
    .string()
    .transform((list, ctx) => orIssue(ctx, () => parseKeys(list)))
    .default([]),
  /** A JSON list of `{name, sha256}`: keys that this machine does not know. */
  API_KEYS_FILE: z
    .string()
    .transform((path, ctx) =>
      orIssue(ctx, () =>
        z
          .array(ApiKey)
          .min(1)
          .parse(JSON.parse(readFileSync(path, "utf8"))),
      ),
    )
    .default([]),
  /** Origins whose pages may call the service from a browser; `*` = all; unset = none. */
  CORS_ORIGINS: z
    .string()
    .default("")
    .transform((list, ctx) => list.split(/[\s,]+/).flatMap((entry) => (entry === "" ? [] : originOf(entry, ctx)))),
  /** `signed`: the addresses of pictures are opened without a key, for an hour or two. Unset = they need one. */
  PUBLIC_IMAGES: z.literal("signed", "must be signed, or unset").optional(),
  /** How many requests that change something an owner may make in a minute; unset = any number. */
  RATE_LIMIT: z.coerce.number().int().min(1).optional(),
  /** How many generations of an owner may be queued or running at once, and how many trainings; unset = any number. */
  MAX_JOBS_PER_KEY: z.coerce.number().int().min(1).optional(),
  /** How many generations may wait, and how many trainings; one more is refused with 429. */
  MAX_QUEUE: z.coerce.number().int().min(1).default(10_000),
  /** How many generations of an owner are kept, and how many trainings; those that have ended go, the oldest first. */
  MAX_KEPT_PER_KEY: z.coerce.number().int().min(1).default(10_000),
  /** How long a generation or a training may wait for a worker before it fails, in seconds. */
  QUEUE_TIMEOUT: seconds.default(24 * 3600),
  /** How long a worker may work on a generation before it fails, in seconds. */
  RUN_TIMEOUT: seconds.max(24 * 3600).default(3600),
  /** How long trainers may work on a training, in all its turns, before it fails, in seconds. */
  TRAINING_TIMEOUT: seconds.default(7 * 24 * 3600),
  /** How long a generation or a training and its pictures are kept after its end, in seconds. */
  RESULT_TTL: seconds.default(7 * 24 * 3600),
  MAX_TAKEOVERS: z.coerce.number().int().min(0).default(5),
  /** The APIs of other systems that are spoken beside our own; unset = all of them on loopback, none elsewhere. */
  DIALECTS: z
    .string()
    .transform((list) => list.split(/[\s,]+/).filter((name) => name !== "" && name !== "none"))
    .pipe(z.array(z.enum(DIALECTS)))
    .optional(),
  /** What pictures say of themselves (src/image/provenance.ts). */
  PROVENANCE: z.enum(["full", "mark", "off"]).default("mark"),
  /** Whether pictures are checked, and what becomes of those that are flagged, where an API key does not say it. */
  SAFETY_CHECKER: z.enum(SAFETY_MODES).default("off"),
  /** Files in PEM that sign pictures (src/image/c2pa): certificates, the signer's first, and its key. Both or neither. */
  C2PA_CERT: folder.optional(),
  C2PA_KEY: folder.optional(),
  LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]).default("info"),
});

type Settings = Omit<z.infer<typeof Environment>, "API_KEYS_FILE">;
export type Config = Settings & { [Name in "PUBLIC_URL" | "DIALECTS"]: NonNullable<Settings[Name]> } & {
  /** Whether links begin with what trusted proxies say, for want of a PUBLIC_URL. */
  FOLLOWS_PROXY: boolean;
};

/**
 * @throws {ConfigError} naming every variable whose value cannot be used. An empty variable counts as unset.
 */
export function readConfig(env: Record<string, string | undefined>): Config {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ""));
  const { data, error } = Environment.safeParse(set);
  if (error) {
    const wrong = error.issues.map(({ path: [name], message }) => {
      const value = name === "API_KEYS" ? "…" : set[String(name)]; // keys are not for the log
      return `${String(name)}=${value}: ${message}`;
    });
    throw new ConfigError(wrong.join("\n"));
  }
  if ((data.C2PA_CERT === undefined) !== (data.C2PA_KEY === undefined)) {
    throw new ConfigError("C2PA_CERT and C2PA_KEY: one is set and the other is not");
  }
  const { API_KEYS_FILE, ...rest } = data;
  const API_KEYS = [...data.API_KEYS, ...API_KEYS_FILE];
  if (API_KEYS.length === 0 && !isLoopback(data.HOST)) {
    throw new ConfigError(
      `HOST=${data.HOST}: must be a loopback address (127.0.0.1, ::1, localhost) as long as there are no API_KEYS`,
    );
  }
  const host = data.HOST.includes(":") ? `[${data.HOST}]` : data.HOST;
  const dialects = data.DIALECTS ?? (isLoopback(data.HOST) ? [...DIALECTS] : []);
  return {
    ...rest,
    API_KEYS,
    DIALECTS: dialects,
    FOLLOWS_PROXY: data.PUBLIC_URL === undefined && data.TRUST_PROXY.length > 0,
    PUBLIC_URL: data.PUBLIC_URL?.replace(/\/+$/, "") ?? `http://${host}:${data.PORT}`,
  };
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

/** An origin as browsers send it. */
function originOf(entry: string, ctx: z.RefinementCtx): string {
  if (entry === "*" || (/^https?:/.test(entry) && URL.parse(entry)?.origin === entry)) return entry;
  ctx.addIssue({ code: "custom", message: `"${entry}" is neither * nor an origin such as https://app.example` });
  return z.NEVER;
}

/** An address, a network, or a name for some. */
function networkOf(entry: string, ctx: z.RefinementCtx): string {
  const [address = "", bits, ...more] = entry.split("/");
  const isNamed = ["loopback", "linklocal", "uniquelocal"].includes(entry);
  const most = isIPv6(address) ? 128 : 32;
  const hasBits = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= most);
  if (isNamed || (isIP(address) !== 0 && hasBits && more.length === 0)) return entry;
  ctx.addIssue({
    code: "custom",
    message: `"${entry}" is neither an address, a network such as 10.0.0.0/8, nor loopback, linklocal or uniquelocal`,
  });
  return z.NEVER;
}

/** What `make` gives, or its error as the issue of a variable. */
function orIssue<T>(ctx: z.RefinementCtx, make: () => T): T {
  try {
    return make();
  } catch (error) {
    const message = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
    ctx.addIssue({ code: "custom", message });
    return z.NEVER;
  }
}

/** @param host a name or an address, IPv6 without brackets */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
