/** Scenes as pixels: vector drawings that sharp (librsvg) rasterises. */
import sharp from "sharp";
import type { Pixels } from "../../src/image/pixels.ts";
import type { Rgb } from "./colours.ts";
import { SIDE } from "./landscape.ts";
import type { Outline, Part } from "./part.ts";
import type { Scene } from "./scene.ts";

export const css = ([red, green, blue]: Rgb) => `rgb(${red},${green},${blue})`;
export const path = (outline: Outline) => `M${outline.map(([x, y]) => `${x.toFixed(2)} ${y.toFixed(2)}`).join("L")}Z`;

/** A drawing of SIDE × SIDE pixels. @param style attributes of everything in it */
export async function rasterise(content: string, style = ""): Promise<Pixels> {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${SIDE}" height="${SIDE}"><g ${style}>${content}</g></svg>`;
  const data = await sharp(Buffer.from(svg))
    .flatten({ background: "black" })
    .removeAlpha()
    .toColourspace("srgb")
    .raw()
    .toBuffer();
  return { width: SIDE, height: SIDE, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
}

function painted({ fill, outline }: Part, i: number): string {
  if ("top" in fill) {
    const stops = `<stop offset="0" stop-color="${css(fill.top)}"/><stop offset="1" stop-color="${css(fill.bottom)}"/>`;
    const gradient = `<linearGradient id="g${i}" x1="0" y1="0" x2="0" y2="1">${stops}</linearGradient>`;
    return `${gradient}<path d="${path(outline)}" fill="url(#g${i})"/>`;
  }
  return `<path d="${path(outline)}" fill="${css(fill)}"/>`;
}

/** The picture itself. */
export const render = (scene: Scene) => rasterise(scene.parts.map(painted).join(""));
