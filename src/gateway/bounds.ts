import type { Config } from "../config/config.ts";

/** What clients may take of a gateway, where no setting says so. docs/operating.md has the table of all bounds. */
const MIB = 2 ** 20;

export const BOUNDS = {
  /** Bytes of bodies, images and large answers that are held in memory for clients at once; of bodies as announced. */
  heldBytes: 192 * MIB,
  heldBytesOfOwner: 64 * MIB,
  /** Text of a body, JSON or a form's fields, beside the data: URIs and files in it: enough for 72 addresses and the longest prompts. */
  textBytes: 512 * 1024,
  /** How long a request's head may take to arrive. */
  headMs: 30_000,
  /** While a body comes in, so many bytes must come in each such time. */
  idleMs: 30_000,
  idleBytes: 4096,
  /** Uploads that are kept of an owner: two files each. */
  uploadsOfOwner: 10_000,
  /** Requests of an owner that are handled at once: those that read, lists of a hundred jobs among them, and those that change something. */
  readingOfOwner: 16,
  changingOfOwner: 64,
  /** For how long one counts. */
  turnMs: 1000,
  /** Clients that follow events, or wait for an end. */
  streams: 2000,
  streamsOfOwner: 1000,
  /** A sign of life after so long without an event tells proxies that the connection lives, and the server whether the client does. */
  silenceMs: 15_000,
  /** How long a client may take to read an event, or to read nothing of a large answer. */
  writeMs: 30_000,
  /** What decoding an image may take of a processor, and of time when the machine is busy. */
  decodeCpuMs: 10_000,
  decodeMs: 60_000,
};

export type Bounds = Readonly<typeof BOUNDS>;

/** The bounds of an installation: an owner can always send two of the largest bodies, and three owners at once. */
export function boundsOf(
  { MAX_BODY_BYTES, MAX_IMAGE_BYTES }: Pick<Config, "MAX_BODY_BYTES" | "MAX_IMAGE_BYTES">,
  others: Partial<Bounds> = {},
): Bounds {
  const heldBytesOfOwner = Math.max(BOUNDS.heldBytesOfOwner, 2 * MAX_BODY_BYTES, 4 * MAX_IMAGE_BYTES);
  return { ...BOUNDS, heldBytesOfOwner, heldBytes: Math.max(BOUNDS.heldBytes, 3 * heldBytesOfOwner), ...others };
}
