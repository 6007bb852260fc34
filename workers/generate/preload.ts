/** Where there is one model alone, what its first requests need is loaded while nobody has asked yet. */
import { setImmediate } from "node:timers/promises";
import { formsWith } from "../../src/diffusion/adapters/loras.ts";
import type { Network } from "../../src/models/network.ts";
import type { BaseModel } from "../../src/models/opened.ts";
import type { Residents } from "../runtime/residents.ts";
import type { Library } from "./library.ts";

/** Its id, and how requests find it opened, so that what is loaded for it is loaded for them. */
function soleModel({ models }: Library, open: (id: string) => BaseModel): [id: string, base: BaseModel] | null {
  const [sole, ...others] = models.keys();
  return sole === undefined || others.length > 0 ? null : [sole, open(sole)];
}

/** The sole model's networks, then those of the ControlNets that fit it, as far as `room` holds them, in bytes. */
function wanted({ controlnets, catalog }: Library, [id, base]: [string, BaseModel], room: number): Network[] {
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

/** LoRA that are looked at: those of a shelf are mostly of one form or two. */
const MOST_LORAS = 16;

/** The form of its networks that most of its LoRA take: one, since each takes memory beside the weights that it shares. */
function loraForm({ loras, catalog }: Library, [id, base]: [string, BaseModel]): Network[] {
  const fitting = catalog.loras.filter(({ models }) => models.includes(id)).slice(0, MOST_LORAS);
  const forms = fitting.map((one) => formsWith(base, loras.get(one.id)!));
  const takers = (form: Network[]) => forms.filter((other) => other.every((network, i) => network === form[i])).length;
  return forms.toSorted((a, b) => takers(b) - takers(a))[0] ?? [];
}

async function load(networks: readonly Network[], residents: Residents, isAsked: () => boolean): Promise<void> {
  for (const network of networks) {
    await setImmediate(); // lets a request in
    if (isAsked()) return;
    await residents.load(network);
  }
}

/**
 * @param what all: the sole model and its ControlNets, then the forms; forms: the form of the model that takes LoRA, where the networks
 * that it is a form of are there, as their weights are ready
 * @param open finds the model as requests do
 * @param isAsked whether somebody has asked for a picture: then this ends after the network that is being loaded
 */
export async function preload(
  what: "all" | "forms",
  library: Library,
  open: (id: string) => BaseModel,
  residents: Residents,
  isAsked: () => boolean,
): Promise<void> {
  const sole = isAsked() ? null : soleModel(library, open);
  if (sole === null) return;
  if (what === "all") await load(wanted(library, sole, residents.budget / 2), residents, isAsked);
  if (isAsked()) return;
  const forms = loraForm(library, sole).filter(({ grafted }) => residents.has(grafted!.trunk));
  await load(forms, residents, isAsked);
}
