/** Where there is one model alone, what its first request needs is loaded while nobody has asked yet. */
import { setImmediate } from "node:timers/promises";
import type { Network } from "../../src/models/network.ts";
import type { Residents } from "../runtime/residents.ts";
import type { Library } from "./library.ts";

/** The sole model's networks, then those of the ControlNets that fit it, as far as `room` holds them, in bytes. */
function wanted({ models, controlnets, catalog }: Library, room: number): Network[] {
  const [sole, ...others] = models;
  if (sole === undefined || others.length > 0) return [];
  const [id, base] = sole;
  const { text, networks } = base;
  const fitting = catalog.controlnets
    .filter((one) => one.models.includes(id))
    .map((one) => controlnets.get(one.id)!.on(base));
  const all = [
    ...text.map(({ network }) => network),
    networks.unet,
    networks.vae_decoder,
    ...fitting.flatMap(({ networks: { hint, controlnet } }) => [hint, controlnet]),
  ];
  let left = room;
  return all.filter(({ weightBytes }) => {
    left -= weightBytes;
    return left >= 0;
  });
}

/** @param isAsked whether somebody has asked for a picture: then this ends after the network that is being loaded */
export async function preload(library: Library, residents: Residents, isAsked: () => boolean): Promise<void> {
  for (const network of wanted(library, residents.budget / 2)) {
    await setImmediate(); // lets a request in
    if (isAsked()) return;
    await residents.load(network);
  }
}
