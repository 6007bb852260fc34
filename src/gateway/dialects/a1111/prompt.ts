/** What AUTOMATIC1111's web UI reads out of a prompt beside emphasis: LoRA tags, and syntax that is not there here. */
import { MAX_ADAPTERS } from "../../../schema/adapters.ts";
import { refuseA1111 } from "./refuse.ts";

export interface ReadPrompt {
  /** Without its tags. */
  readonly prompt: string;
  readonly loras: readonly { readonly name: string; readonly scale: number }[];
}

/** `<name:argument:argument>`, as in modules/extra_networks.py. */
const TAG = /<(\w+):([^>]+)>/g;

/** Syntax that changes the picture and is not there here. A "\" before a bracket makes it a character. */
const UNREAD = [
  { syntax: /(?<!\\)\[(?:[^[\]\\]|\\.)*\|/, name: "[a|b], words that alternate," },
  { syntax: /:\s*\d*\.?\d+\s*(?<!\\)\]/, name: "[a:b:0.5], a prompt that changes on the way," },
  { syntax: /\bAND\b/, name: "AND, several prompts in one picture," },
] as const;

/** A LoRA's strength: `<lora:name:0.8>`, `<lora:name:te:unet>`, `<lora:name:te=0.5:unet=0.5>`. */
function scaleOf(tag: string, args: readonly string[]): number {
  const places = args.filter((arg) => !arg.includes("="));
  const named = new Map(args.filter((arg) => arg.includes("=")).map((arg) => arg.split("=") as [string, string]));
  for (const name of named.keys()) {
    if (name !== "te" && name !== "unet") throw refuseA1111("prompt", `${tag}: "${name}" of a LoRA is not there here`);
  }
  if (places.length > 2) throw refuseA1111("prompt", `${tag}: dynamic ranks of a LoRA are not there here`);
  const text = Number(named.get("te") ?? places[0] ?? 1);
  const unet = Number(named.get("unet") ?? places[1] ?? text);
  if (!Number.isFinite(text) || !Number.isFinite(unet))
    throw refuseA1111("prompt", `${tag}: its weight must be a number`);
  if (text !== unet) {
    throw refuseA1111("prompt", `${tag}: a LoRA has one weight here, for the text encoder and the U-Net alike`);
  }
  return unet;
}

/** @throws {Refused} naming what it says and is not there here */
export function readPrompt(written: string): ReadPrompt {
  const loras: { name: string; scale: number }[] = [];
  const prompt = written.replace(TAG, (tag, kind: string, rest: string) => {
    const [name = "", ...args] = rest.split(":");
    if (!/^(lora|lyco)$/i.test(kind)) {
      throw refuseA1111("prompt", `${tag}: extra networks of the kind "${kind}" are not there here; lora is`);
    }
    loras.push({ name, scale: scaleOf(tag, args) });
    return "";
  });
  if (loras.length > MAX_ADAPTERS)
    throw refuseA1111("prompt", `names ${loras.length} LoRA: at most ${MAX_ADAPTERS} are allowed`);
  refuseUnread("prompt", prompt);
  return { prompt, loras };
}

/** @throws {Refused} naming syntax that would be read as text */
export function refuseUnread(field: string, prompt: string): void {
  const unread = UNREAD.find(({ syntax }) => syntax.test(prompt));
  if (unread !== undefined) throw refuseA1111(field, `${unread.name} is not there here`);
}

/** The names that are written in the prompts, as words of their own: how the web UI uses textual inversions. */
export function writtenIn(prompts: readonly string[], names: readonly string[]): string[] {
  return names.filter((name) => {
    const word = new RegExp(`(?<![\\w-])${name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?![\\w-])`);
    return prompts.some((prompt) => word.test(prompt));
  });
}
