/** What a request names of the shelves of adapters, ready to be used: with its images, read when it is their turn. */
import type { Chosen } from "../../src/diffusion/adapters/adapt.ts";
import type { Runner } from "../../src/diffusion/load.ts";
import { clipPixels, unshuffle } from "../../src/image/clip-pixels.ts";
import { grey, hint, mask } from "../../src/image/hint.ts";
import { resize } from "../../src/image/resize.ts";
import { UNSHUFFLE } from "../../src/models/t2i-adapter.ts";
import type { GenerationRequest } from "../../src/schema/generation-request.ts";
import { decodingOnce } from "./decoded.ts";
import type { Opened } from "./shelves.ts";

type AdapterShelf = "loras" | "embeddings" | "ip_adapters" | "adapters";

/** Finds what stands on a shelf. @throws Error naming what this worker does not have */
export type Take = <Name extends AdapterShelf>(shelf: Name, id: string) => Opened<Name>;

/**
 * @param files the images' bytes by their hashes
 * @param turn comes before each image; when it throws, reading ends
 */
export async function chooseAdapters(
  request: GenerationRequest,
  files: Readonly<Record<string, Uint8Array>>,
  turn: () => Promise<void>,
  take: Take,
  remembering: Runner,
): Promise<Chosen> {
  const { width, height } = request;
  const decoded = decodingOnce(files);
  const picture = async (hash: string) => {
    await turn();
    return decoded(hash);
  };
  const fitted = async (hash: string) => resize(await picture(hash), width, height);
  const ip_adapters: Chosen["ip_adapters"][number][] = [];
  for (const { ip_adapter, image, scale, mask: where } of request.ip_adapters) {
    const adapter = take("ip_adapters", ip_adapter);
    const { image_size: side } = adapter.encoder.config;
    const images = [image].flat().map((hash) => async () => ({
      dims: [1, 3, side, side],
      data: clipPixels(await picture(hash), side),
    }));
    const own = where === null ? null : { dims: [1, 1, height, width], data: mask(await fitted(where)) };
    const run = { encoder: remembering(adapter.encoder.network), tokens: remembering(adapter.network) };
    ip_adapters.push({ id: ip_adapter, loaded: { adapter, run }, scale, images, mask: own });
  }
  return {
    loras: request.loras.map(({ lora, scale }) => ({ id: lora, lora: take("loras", lora), scale })),
    embeddings: request.embeddings.map(({ embedding, token }) => ({
      id: embedding,
      embedding: take("embeddings", embedding),
      token,
    })),
    ip_adapters,
    adapters: request.adapters.map(({ adapter: id, image, conditioning_scale, conditioning_factor }) => {
      const adapter = take("adapters", id);
      const { in_channels: channels, adapter_type } = adapter.config;
      return {
        id,
        adapter,
        run: remembering(adapter.network),
        conditioning_scale,
        conditioning_factor,
        image: async () => {
          const pixels = await fitted(image);
          const data = channels === 1 ? grey(pixels) : hint(pixels);
          return unshuffle(data, [channels, height, width], UNSHUFFLE[adapter_type]);
        },
      };
    }),
  };
}
