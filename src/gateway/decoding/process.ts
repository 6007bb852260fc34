/**
 * The process that decodes strangers' images for the gateway, one after the other. What an image costs, in time, in memory or in a
 * crash of its decoder, it costs here; a decoder cannot be stopped, a process can.
 */
import { verify } from "../../image/decode.ts";
import { ImageError } from "../../image/image-error.ts";
import { MAX_IMAGE_PIXELS } from "../../schema/fields.ts";
import type { FromDecoder, ToDecoder } from "./messages.ts";

const LOOK_MS = 50;
const LIMITS = { maxPixels: MAX_IMAGE_PIXELS };

const say = (message: FromDecoder) => process.send!(message);

async function check({ bytes, mostPixels, cpuMs }: ToDecoder): Promise<void> {
  const before = process.cpuUsage();
  const look = setInterval(() => {
    const { user, system } = process.cpuUsage(before);
    if ((user + system) / 1000 < cpuMs) return;
    clearInterval(look);
    say({ type: "late" });
  }, LOOK_MS);
  try {
    const size = await verify(bytes, LIMITS, (width, height) => width * height <= mostPixels);
    say({ type: "size", ...size });
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    say({ type: "refused", message: error.message });
  } finally {
    clearInterval(look);
  }
}

process.on("message", check);
process.on("disconnect", () => process.exit(0)); // the gateway has ended, however it did
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => {}); // those are for the gateway to hear
