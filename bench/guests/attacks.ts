/** What one key does to take everything: each until it is told to stop, with answers of any kind. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import sharp from "sharp";
import { create } from "tar";
import { writeCircles } from "../../test/support/circles.ts";
import { manyFiles, scanBomb, textBomb } from "./files.ts";

export interface Attacker {
  /** Sends, counts the answer by its status, and returns it; a connection that breaks counts as 0. */
  send(method: string, path: string, type?: string, body?: string | Buffer): Promise<{ status: number; body: string }>;
  /** Opens a connection and writes to it; what comes back is read only when `reads`. */
  open(head: string, body: Buffer | null, reads: boolean): void;
  readonly over: AbortSignal;
  /** An empty folder. */
  readonly folder: string;
}

type Attack = (attacker: Attacker) => Promise<void>;

/** So many at once, each again and again. */
const crowd = ({ over }: Attacker, count: number, once: (n: number) => Promise<unknown>) =>
  Promise.all(
    Array.from({ length: count }, async (_, n) => {
      while (!over.aborted) await once(n);
    }),
  );

/** As much text as two prompts may have, in three bytes each character. */
const LONG = { prompt: "雪".repeat(10_000), negative_prompt: "雪".repeat(10_000) };
const JSON_TYPE = "application/json";
const idOf = (body: string) => (JSON.parse(body) as { id?: string }).id;
const generate = ({ send }: Attacker, more: object) =>
  send("POST", "/v1/generations", JSON_TYPE, JSON.stringify({ prompt: "x", num_inference_steps: 4, ...more }));

async function train({ send, over }: Attacker, archive: Buffer, more: object): Promise<void> {
  const uploaded = await send("POST", "/v1/uploads", "application/gzip", archive);
  if (uploaded.status !== 201) return void (await sleep(500));
  const name = `attack-${Math.random().toString(36).slice(2)}`;
  const base = { base: "demo", name, dataset: `upload:${idOf(uploaded.body)}`, resolution: 64, ...more };
  const accepted = await send("POST", "/v1/trainings", JSON_TYPE, JSON.stringify(base));
  await send("DELETE", `/v1/uploads/${idOf(uploaded.body)}`);
  const path = `/v1/trainings/${idOf(accepted.body)}`;
  const lives = async () => /"ended_at":null/.test((await send("GET", path)).body);
  while (accepted.status === 202 && !over.aborted && (await lives())) await sleep(500);
}

async function circles(folder: string): Promise<Buffer> {
  await writeCircles(folder, 4, 64);
  const file = join(folder, "circles.tar.gz");
  await create({ gzip: true, file, cwd: folder }, ["prompt.json", "source", "target"]);
  return readFileSync(file);
}

/** By the point of what was seen that it is. */
export const ATTACKS: Record<string, Attack> = {
  async "1: a dataset of 420,000 files of a byte"(attacker) {
    const archive = manyFiles(420_000);
    while (!attacker.over.aborted) await train(attacker, archive, { max_train_steps: 1 });
  },

  async "2: prompts of 60 kB, made and canceled"(attacker) {
    await crowd(attacker, 8, async () => {
      const { status, body } = await generate(attacker, LONG);
      if (status === 202) await attacker.send("POST", `/v1/generations/${idOf(body)}/cancel`);
    });
  },

  async "3: prompts of 60 kB and previews, left to run"(attacker) {
    await crowd(attacker, 8, () => generate(attacker, { ...LONG, num_inference_steps: 149 }));
  },

  async "4a: PNGs whose text unpacks to 10 GB"(attacker) {
    const png = await textBomb(200);
    await crowd(attacker, 8, () => attacker.send("POST", "/v1/uploads", "image/png", png));
  },

  async "4b: JPEGs of 2,646 scans"(attacker) {
    const jpeg = await scanBomb(2646);
    await crowd(attacker, 3, () => attacker.send("POST", "/v1/uploads", "image/jpeg", jpeg));
  },

  async "4c: one image named 72 times"(attacker) {
    const create = { width: 4000, height: 4000, channels: 3, background: "red" } as const;
    const png = await sharp({ create }).png().toBuffer();
    const { body } = await attacker.send("POST", "/v1/uploads", "image/png", png);
    const image = `upload:${idOf(body)}`;
    const one = { controlnet: "canny", image: Array(8).fill(image), mask: image };
    await crowd(attacker, 2, () => generate(attacker, { num_images: 8, controls: Array(8).fill(one) }));
  },

  async "5a: 60 bodies of 31 MB without their end"(attacker) {
    const length = 31_000_000;
    const body = Buffer.alloc(length - 1, "x");
    body.write('{"prompt": "x", "image": "data:image/png;base64,');
    const head = `POST /v1/generations HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n`;
    for (let n = 0; n < 60; n++) attacker.open(head, body, true);
    await crowd(attacker, 1, () => sleep(1000, undefined, { signal: attacker.over }).catch(() => {}));
  },

  async "5b: JSON of 31 MB of {}"(attacker) {
    const body = `{"prompt": "x", "controls": [${"{},".repeat(10_000_000)}{}]}`;
    await crowd(attacker, 2, () => attacker.send("POST", "/v1/generations", JSON_TYPE, body));
  },

  async "7: 1,500 streams of events that nobody reads"(attacker) {
    const { body } = await generate(attacker, { num_inference_steps: 149 });
    const head = `GET /v1/generations/${idOf(body)}/events HTTP/1.1\r\n`;
    await crowd(attacker, 1, async () => {
      for (let n = 0; n < 1500 && !attacker.over.aborted; n++) attacker.open(head, null, false);
      await sleep(10_000, undefined, { signal: attacker.over }).catch(() => {});
    });
  },

  async "8: a training of 10,000,000 steps"(attacker) {
    const archive = await circles(attacker.folder);
    while (!attacker.over.aborted) await train(attacker, archive, { max_train_steps: 10_000_000 });
  },

  async "10: all places of the queue"(attacker) {
    await crowd(attacker, 8, () => generate(attacker, {}));
  },

  async "11: lists of a hundred, on 200 connections"(attacker) {
    for (let n = 0; n < 100; n++) await generate(attacker, {});
    await crowd(attacker, 200, () => attacker.send("GET", "/v1/generations?limit=100"));
  },
};
