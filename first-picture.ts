/** The picture that `npm start -- --model org/name --prompt TEXT` ends in. */
import { readFile, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Ids, Named } from "./src/hub/own-models.ts";
import type { Generation } from "./src/schema/generation.ts";

const FILE = "picture.png";

/** A request's body. What kind of image a hint is shows in its bytes. */
async function requestOf({ prompt, hint }: Named, { models, controlnets }: Ids): Promise<object> {
  const image = hint === undefined ? null : (await readFile(hint)).toString("base64");
  const controls = image === null ? [] : [{ controlnet: controlnets[0], image: `data:image/png;base64,${image}` }];
  return { model: models[0], prompt, controls };
}

/** The service's answer. @throws Error with what it says against it */
async function ask(address: string, init: RequestInit = {}): Promise<Response> {
  const answer = await fetch(address, init);
  if (answer.ok) return answer;
  const { detail } = (await answer.json()) as { detail?: string };
  throw new Error(detail ?? `the service answers with ${answer.status}`);
}

async function ended(address: string): Promise<Generation> {
  for (;;) {
    const generation = (await (await ask(address)).json()) as Generation;
    if (generation.ended_at !== null) return generation;
    await sleep(500);
  }
}

/** Says where the picture is, or why there is none. */
export async function savePicture(url: string, named: Named, ids: Ids, say: (line: string) => void): Promise<void> {
  try {
    const body = JSON.stringify(await requestOf(named, ids));
    const headers = { "Content-Type": "application/json" };
    const answer = await ask(`${url}/v1/generations`, { method: "POST", headers, body });
    const { id } = (await answer.json()) as Generation;
    say(`making ${FILE} …`);
    const { images, error, status } = await ended(`${url}/v1/generations/${id}`);
    const [image] = images;
    if (image === undefined) throw new Error(error?.message ?? status);
    const { pathname } = new URL(image.url);
    await writeFile(FILE, new Uint8Array(await (await ask(url + pathname)).arrayBuffer()));
    say(`the picture: ${resolve(FILE)}`);
  } catch (error) {
    say(`no picture: ${(error as Error).message}`);
  }
}
