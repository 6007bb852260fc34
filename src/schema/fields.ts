/** Fields that several resources have, and the limits of what a client may send. Names are those of diffusers, in snake_case. */
import { z } from "zod";

export const MAX_IMAGES = 8;
export const MAX_CONTROLS = 8;
export const MAX_STEPS = 150;
/** A side of a picture is a multiple of this many pixels: the VAE's scale. */
export const SIZE_MULTIPLE = 8;
/** The most pixels on one side; what a picture may have in all is MAX_PIXELS of the configuration. */
export const MAX_SIDE = 8192;
/** The most pixels of an image that is sent in: what a large camera makes. */
export const MAX_IMAGE_PIXELS = 50_000_000;
/** The most characters of a prompt: far more than any text encoder reads, little enough to be tokenized in no time. */
export const MAX_PROMPT = 10_000;
export const MAX_METADATA_BYTES = 4096;
export const MAX_URL = 2000;
/** The longest time that `Prefer: wait` holds a request, in seconds; more counts as this. Many proxies give up after 60. */
export const MAX_WAIT_SECONDS = 55;

export const Id = z
  .string()
  .min(1)
  .max(200)
  .meta({ description: "Its name: in MODELS_DIR, that of its folder or file.", examples: ["sd15"] });
export const Side = z
  .int()
  .min(SIZE_MULTIPLE)
  .max(MAX_SIDE)
  .multipleOf(SIZE_MULTIPLE, `must be a multiple of ${SIZE_MULTIPLE}`)
  .meta({ description: "Pixels.", examples: [512] });

/** Of its JSON; infinite where it is nested too deeply for that to be made. */
function jsonBytes(value: unknown): number {
  try {
    return Buffer.byteLength(JSON.stringify(value));
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** An object of any keys: `__proto__` too, which z.record leaves out. */
const anyObject = z
  .custom<Record<string, unknown>>((value) => typeof value === "object" && value !== null && !Array.isArray(value), {
    error: "must be an object of JSON",
  })
  .meta({ type: "object", additionalProperties: {} });

export const metadata = anyObject
  .default({})
  .refine((value) => jsonBytes(value) <= MAX_METADATA_BYTES, {
    error: `must be at most ${MAX_METADATA_BYTES} bytes of JSON`,
  })
  .describe(`Echoed; at most ${MAX_METADATA_BYTES} bytes of JSON.`);

export const priority = z
  .int()
  .min(0)
  .max(9)
  .default(0)
  .describe("Among your own jobs: 0 is first, 9 is last.")
  .meta({ examples: [0] });

export const seed = z
  .int(`must be a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`)
  .min(0, "must be 0 or more; left out, it is drawn at random and returned")
  .meta({
    description:
      "Where the random numbers begin: the same request with the same seed gives the same result. The generator takes its lowest 32 bits, as torch's does on a CPU: seeds 2³² apart give the same.",
    examples: [42],
  });

export const instant = z.iso
  .datetime()
  .meta({ description: "A time, in UTC.", examples: ["2026-01-31T12:00:00.000Z"] });

/** A job's `metadata` as an answer shows it. */
export const echoedMetadata = anyObject.describe("What the request brought as its own.");

/** What a network's or an adapter's files say that does not keep them from being served. */
export const fileWarnings = z.array(z.string()).describe("What was noticed in its files, and what is done about it.");
