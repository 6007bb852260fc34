/** An IP-Adapter's scale as factors of a U-Net's attentions, by diffusers' set_ip_adapter_scale; and where it does not fit them. */
import type { IpScale } from "./adapters.ts";
import type { AttentionBlocks } from "./catalog.ts";

type Part = keyof AttentionBlocks;
type Factors = number | readonly number[];

const isList = (given: unknown): given is readonly number[] => Array.isArray(given);

/** What is said of each block of a part; a number or a list stands for all of them. */
function ofBlocks(given: NonNullable<Exclude<IpScale, number>[Part]>, blocks: readonly number[]): [string, Factors][] {
  if (typeof given === "object" && !isList(given)) return Object.entries(given) as [string, Factors][];
  return blocks.flatMap((count, block) => (count > 0 ? [[`block_${block}`, given]] : []));
}

const shown = (blocks: readonly number[]) =>
  blocks.flatMap((count, block) => (count > 0 ? [`block_${block} (${count})`] : [])).join(", ");

/** The field of `scale` that does not fit the U-Net, and why; null when all does. */
export function scaleMisfit(scale: IpScale, blocks: AttentionBlocks): { path: string; message: string } | null {
  if (typeof scale === "number") return null;
  for (const [part, given] of Object.entries(scale) as [Part, NonNullable<Exclude<IpScale, number>[Part]>][]) {
    const named = typeof given === "object" && !isList(given);
    if (part === "mid" && named) return { path: ".mid", message: "must be a number: the middle is one block" };
    if (blocks[part].every((count) => count === 0)) {
      return { path: `.${part}`, message: "there is no attention to the text" };
    }
    for (const [name, factors] of ofBlocks(given, blocks[part])) {
      const path = named ? `.${part}.${name}` : `.${part}`;
      const count = blocks[part][Number(name.slice("block_".length))] ?? 0;
      if (count === 0) {
        const others = shown(blocks[part]);
        return { path, message: `there is no attention to the text; blocks that have some: ${others}` };
      }
      if (isList(factors) && ![1, count].includes(factors.length)) {
        const message = `has ${factors.length} factors for the ${count} attentions of ${part} ${name}: one, or one for each`;
        return { path, message };
      }
    }
  }
  return null;
}

/** The factor of an attention. What an object does not name is 0; one factor is for all attentions of a block. */
export function factorOf(scale: IpScale, part: Part, block: number, attention: number): number {
  if (typeof scale === "number") return scale;
  const given = scale[part] ?? 0;
  const own = typeof given === "object" && !isList(given) ? (given[`block_${block}`] ?? 0) : given;
  return isList(own) ? (own[own.length === 1 ? 0 : attention] ?? 0) : own;
}
