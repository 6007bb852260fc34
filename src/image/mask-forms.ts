/** Masks as other systems send them, as the one that inpainting takes: white = paint anew. Both get pictures that have been verified. */
import sharp from "sharp";
import { strip } from "./decode.ts";

const options = { failOn: "error", ignoreIcc: true, autoOrient: true, limitInputPixels: false } as const;

async function asPng(grey: Uint8Array, width: number, height: number): Promise<Buffer> {
  return sharp(grey, { raw: { width, height, channels: 1 } })
    .png()
    .toBuffer();
}

/** White where the picture is fully transparent, black elsewhere, as a PNG; null when no pixel is. */
export async function maskOfAlpha(bytes: Uint8Array): Promise<Buffer | null> {
  const alpha = sharp(strip(bytes), options).ensureAlpha().extractChannel("alpha").raw();
  const { data, info } = await alpha.toBuffer({ resolveWithObject: true });
  if (!data.includes(0)) return null;
  return asPng(
    data.map((value) => (value === 0 ? 255 : 0)),
    info.width,
    info.height,
  );
}

/** The negative of a mask, as a PNG. */
export async function invertedMask(bytes: Uint8Array): Promise<Buffer> {
  const grey = sharp(strip(bytes), options).removeAlpha().toColourspace("b-w").extractChannel(0).raw();
  const { data, info } = await grey.toBuffer({ resolveWithObject: true });
  return asPng(
    data.map((value) => 255 - value),
    info.width,
    info.height,
  );
}
