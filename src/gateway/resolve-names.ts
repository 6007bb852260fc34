/** Names of what MODELS_DIR holds: what lies in a sub-folder goes by its own name too, where nothing else does. */
import type { Catalog, ShelfName } from "../schema/catalog.ts";
import type { GenerationInput } from "../schema/generation-request.ts";

/** The id that a name means, or the name itself. */
export function offeredId(name: string, offered: readonly { readonly id: string }[]): string {
  const inFolders = offered.filter(({ id }) => id.endsWith(`/${name}`));
  return inFolders.length === 1 && offered.every(({ id }) => id !== name) ? inFolders[0]!.id : name;
}

/** Lists of a request whose entries name something, and by which field what of which shelf. */
const NAMING = {
  controls: { field: "controlnet", shelf: "controlnets" },
  loras: { field: "lora", shelf: "loras" },
  embeddings: { field: "embedding", shelf: "embeddings" },
  ip_adapters: { field: "ip_adapter", shelf: "ip_adapters" },
  adapters: { field: "adapter", shelf: "adapters" },
} as const satisfies Partial<Record<keyof GenerationInput, { field: string; shelf: ShelfName }>>;

/** The request with ids for names; the model's is another matter, because it may be left out. */
export function withIds(input: GenerationInput, catalog: Pick<Catalog, ShelfName>): GenerationInput {
  const lists = Object.entries(NAMING).map(([list, { field, shelf }]) => {
    const entries = input[list as keyof typeof NAMING] as readonly Record<string, unknown>[];
    return [list, entries.map((entry) => ({ ...entry, [field]: offeredId(String(entry[field]), catalog[shelf]) }))];
  });
  return { ...input, ...Object.fromEntries(lists) };
}
