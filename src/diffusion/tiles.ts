import type { Tensor } from "../onnx/tensor.ts";
import type { Run } from "./model.ts";

/** The share of a tile that the next one covers too (diffusers' AutoencoderKL.tile_overlap_factor). */
const OVERLAP = 0.25;

/** Rows `y` to y + height and columns x to x + width of [C, H, W], cut off at its edges. */
function cut({ dims, data }: Tensor, y: number, x: number, height: number, width: number): Tensor {
  const [channels, rows, columns] = dims as [number, number, number];
  const [h, w] = [Math.min(height, rows - y), Math.min(width, columns - x)];
  const out = new Float32Array(channels * h * w);
  for (let c = 0; c < channels; c++) {
    for (let row = 0; row < h; row++) {
      const from = (c * rows + y + row) * columns + x;
      out.set(data.subarray(from, from + w) as Float32Array, (c * h + row) * w);
    }
  }
  return { dims: [channels, h, w], data: out };
}

/** Fades `tile` in over the end of the tile before it, along one axis (1 = down, 2 = right). */
function blend(before: Tensor, tile: Tensor, axis: 1 | 2, most: number): void {
  const [channels, rows, columns] = tile.dims as [number, number, number];
  const [, rowsBefore, columnsBefore] = before.dims as [number, number, number];
  const extent = Math.min(before.dims[axis]!, tile.dims[axis]!, most);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < (axis === 1 ? extent : rows); y++) {
      for (let x = 0; x < (axis === 2 ? extent : columns); x++) {
        const share = (axis === 1 ? y : x) / extent;
        const yBefore = axis === 1 ? rowsBefore - extent + y : y;
        const xBefore = axis === 2 ? columnsBefore - extent + x : x;
        const i = (c * rows + y) * columns + x;
        const old = before.data[(c * rowsBefore + yBefore) * columnsBefore + xBefore] as number;
        tile.data[i] = old * (1 - share) + (tile.data[i] as number) * share;
      }
    }
  }
}

function paste({ dims, data }: Tensor, tile: Tensor, y: number, x: number): void {
  const [channels, rows, columns] = dims as [number, number, number];
  const [, h, w] = tile.dims as [number, number, number];
  for (let c = 0; c < channels; c++) {
    for (let row = 0; row < h; row++) {
      const from = (c * h + row) * w;
      (data as Float32Array).set(
        tile.data.subarray(from, from + w) as Float32Array,
        (c * rows + y + row) * columns + x,
      );
    }
  }
}

/**
 * The VAE's image [3, H, W] of latents [C, h, w], decoded in overlapping square tiles that fade into each other, so that its
 * memory does not grow with the picture (diffusers' AutoencoderKL.tiled_decode).
 * @param size latent cells of a tile's side; @param scale pixels per cell
 */
export async function decodeTiled(vaeDecoder: Run, latents: Tensor, size: number, scale: number): Promise<Tensor> {
  const [, height, width] = latents.dims as [number, number, number];
  const stride = Math.floor(size * (1 - OVERLAP));
  const fade = Math.floor(size * scale * OVERLAP);
  const kept = size * scale - fade; // pixels of a tile that the next one does not draw
  const dims = [3, height * scale, width * scale];
  const image: Tensor = { dims, data: new Float32Array(3 * height * width * scale * scale) };
  let above: Tensor[] = [];
  for (let y = 0; y < height; y += stride) {
    const row: Tensor[] = [];
    for (let x = 0; x < width; x += stride) {
      const cells = cut(latents, y, x, size, size);
      const decoded = (await vaeDecoder({ latents: { ...cells, dims: [1, ...cells.dims] } })).image!;
      const tile = { dims: decoded.dims.slice(1), data: decoded.data.slice() };
      if (y > 0) {
        blend(above[row.length]!, tile, 1, fade);
      }
      if (x > 0) {
        blend(row.at(-1)!, tile, 2, fade);
      }
      row.push(tile);
      const [top, left] = [(y / stride) * kept, (x / stride) * kept];
      paste(image, cut(tile, 0, 0, Math.min(kept, dims[1]! - top), Math.min(kept, dims[2]! - left)), top, left);
    }
    above = row;
  }
  return image;
}
