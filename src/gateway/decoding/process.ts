/**
 * The process that decodes strangers' images for the gateway, one after the other. What an image costs, in time, in memory or in a
 * crash of its decoder, it costs here; a decoder cannot be stopped, a process can.
 */
import { verify } from "../../image/decode.ts";
import { ImageError } from "../../image/image-error.ts";
import { invertedMask, maskOfAlpha } from "../../image/mask-forms.ts";
import { MAX_IMAGE_PIXELS } from "../../schema/fields.ts";
import type { FromDecoder, MakerName, ToDecoder } from "./messages.ts";

const LOOK_MS = 50;
const LIMITS = { maxPixels: MAX_IMAGE_PIXELS };

const MAKERS = { maskOfAlpha, invertedMask } satisfies Record<
  MakerName,
  (bytes: Uint8Array) => Promise<Uint8Array | null>
>;

const say = (message: FromDecoder) => process.send!(message);

async function carryOut(task: ToDecoder): Promise<FromDecoder> {
  try {
    if (task.type === "make") return { type: "made", bytes: await MAKERS[task.maker](task.bytes) };
    const { bytes, mostPixels } = task;
    return { type: "size", ...(await verify(bytes, LIMITS, (width, height) => width * height <= mostPixels)) };
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    return { type: "refused", message: error.message };
  }
}

async function hear(task: ToDecoder): Promise<void> {
  const before = process.cpuUsage();
  const look = setInterval(() => {
    const { user, system } = process.cpuUsage(before);
    if ((user + system) / 1000 < task.cpuMs) return;
    clearInterval(look);
    say({ type: "late" });
  }, LOOK_MS);
  const answer = await carryOut(task);
  clearInterval(look);
  say(answer);
}

process.on("message", hear);
process.on("disconnect", () => process.exit(0)); // the gateway has ended, however it did
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => {}); // those are for the gateway to hear
