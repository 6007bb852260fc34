/**
 * Adapters over HTTP: their pictures against diffusers', files of strangers, and shelves that change while a worker runs. ADAPTER_CASES
 * names a folder with more cases (<family>/{loras, ip_adapters, …, cases}).
 */
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import type { Generation } from "../../src/schema/generation.ts";
import { layModels, psnrOf, requestOf } from "../support/adapter-models.ts";
import { kill, startNode, temporaryFolder, until } from "../support/processes.ts";
import { type RawTensor, readRaw, writeRaw } from "../support/rewrite.ts";
import { startService } from "../support/service.ts";

const FOLDER = process.env.ADAPTER_CASES ?? join(import.meta.dirname, "../fixtures/adapters");
/** Rounding to 8 bits alone gives 59.3 to 59.8 dB. */
const LEAST_PSNR = 57;
const families = ["sd15", "sdxl"].filter((family) => existsSync(join(FOLDER, family, "cases")));

const stack = new AsyncDisposableStack();
type Service = Awaited<ReturnType<typeof startService>> & { models: string };
const services = new Map<string, Service>();
const figures: string[] = [];

before(async () => {
  for (const family of families) {
    const models = await temporaryFolder(stack);
    layModels(models, family, join(FOLDER, family));
    services.set(family, { ...(await startService(stack, { work: true }, { MODELS_DIR: models })), models });
  }
});

after(async () => {
  console.log(`\nPSNR over HTTP with adapters (at least ${LEAST_PSNR} dB)\n${figures.join("\n")}\n`);
  await stack.disposeAsync();
});

function post(family: string, request: object): Promise<Response> {
  return fetch(`${services.get(family)!.url}/v1/generations`, {
    method: "POST",
    headers: { "content-type": "application/json", prefer: "wait=55" },
    body: JSON.stringify(request),
  });
}

async function generate(family: string, request: object): Promise<Uint8Array[]> {
  const made = (await (await post(family, request)).json()) as Generation;
  assert.equal(made.status, "succeeded", JSON.stringify(made));
  return Promise.all(made.images.map(async ({ url }) => (await fetch(url)).bytes()));
}

const dirOf = (family: string, name: string) => join(FOLDER, family, "cases", name);

for (const family of families) {
  for (const name of readdirSync(join(FOLDER, family, "cases"))) {
    test(`${family}/${name} is the picture that diffusers makes`, async () => {
      const dir = dirOf(family, name);
      const decibels = await psnrOf(dir, await generate(family, requestOf(dir, name)));
      figures.push(`${`${family}/${name}`.padEnd(36)} ${decibels.toFixed(2)} dB`);
      assert.ok(decibels >= LEAST_PSNR, `${decibels.toFixed(2)} dB`);
    });
  }
}

const PLAIN = { model: "base", prompt: "a house", seed: 1, num_inference_steps: 2, width: 64, height: 64 };
const PICTURE = () => requestOf(dirOf("sd15", "everything"), "everything").ip_adapters as { image: string }[];

/** Of each shelf: a file of it, and how a request names the id. */
const KINDS = {
  loras: { file: "loras/kohya_attn.safetensors", use: (id: string) => ({ loras: [{ lora: id }] }) },
  embeddings: {
    file: "embeddings/a1111.safetensors",
    use: (id: string) => ({ prompt: "a <w>", embeddings: [{ embedding: id, token: "<w>" }] }),
  },
  ip_adapters: {
    file: "ip_adapters/base.safetensors",
    use: (id: string) => ({ ip_adapters: [{ ip_adapter: id, image: PICTURE()[0]!.image }] }),
  },
  adapters: {
    file: "adapters/line.safetensors",
    use: (id: string) => ({ adapters: [{ adapter: id, image: PICTURE()[0]!.image }] }),
  },
} as const;
type Kind = keyof typeof KINDS;

type Tensors = Map<string, RawTensor>;
const first = (tensors: Tensors): [string, RawTensor] => {
  const name = [...tensors.keys()].find((one) => /lora_down|emb_params|to_k_ip|block1\.weight/.test(one))!;
  return [name, tensors.get(name)!];
};

/** What a stranger may have done to a file. */
const SPOILED = {
  "cut off": (file) => file.subarray(0, file.length >> 1),
  "of other shapes": (file) =>
    rewritten(file, (tensors) => {
      const [name, { dtype, bytes }] = first(tensors);
      tensors.set(name, { dtype, bytes, shape: [1, 1, bytes.length / (dtype === "F32" ? 4 : 2)] });
    }),
  "with a NaN": (file) =>
    rewritten(file, (tensors) => {
      const [name, tensor] = first(tensors);
      tensors.set(name, { ...tensor, bytes: new Uint8Array(tensor.bytes.length).fill(0xff) });
    }),
  "of whole numbers": (file) =>
    rewritten(file, (tensors) => {
      const [name, { shape }] = first(tensors);
      tensors.set(name, { dtype: "I32", shape, bytes: new Uint8Array(shape.reduce((a, b) => a * b, 4)) });
    }),
  "of rank 0": (file) =>
    rewritten(file, (tensors) => {
      const [name, { dtype, shape }] = first(tensors);
      tensors.set(name, { dtype, shape: [0, ...shape.slice(1)], bytes: new Uint8Array() });
    }),
  "with 60,000 keys": (file) =>
    rewritten(file, (tensors) => {
      for (let i = 0; i < 60_000; i++)
        tensors.set(`nothing.${i}.weight`, { dtype: "F16", shape: [1], bytes: new Uint8Array(2) });
    }),
} satisfies Record<string, (file: Buffer) => Uint8Array>;

let scratch = "";
function rewritten(file: Buffer, change: (tensors: Tensors) => void): Uint8Array {
  const path = join(scratch, "file");
  writeFileSync(path, file);
  const tensors = readRaw(path);
  change(tensors);
  writeRaw(path, tensors);
  return readFileSync(path);
}

/** What is offered, or refused with a reason, on a shelf. */
async function shelf(kind: Kind) {
  const answer = await fetch(`${services.get("sd15")!.url}/v1/${kind}`);
  const { data, unavailable } = (await answer.json()) as { data: { id: string }[]; unavailable: { id: string }[] };
  return { offered: data.map(({ id }) => id), refused: unavailable.map(({ id }) => id) };
}

const idOf = (name: string) => name.replaceAll(/\W+/g, "-");

/** What stands on a shelf and is no file that can be read, by its id. */
function putOddThings(shelf: string): string[] {
  const at = (id: string) => join(shelf, `${id}.safetensors`);
  symlinkSync(at("a-loop"), at("a-loop"));
  mkdirSync(at("a-folder"));
  execFileSync("mkfifo", [at("a-pipe")]);
  writeFileSync(at("n".repeat(230)), "");
  return ["a-loop", "a-folder.safetensors", "a-pipe", "n".repeat(230)];
}

test("a file of a stranger gives one error that says why, and the worker lives", async () => {
  scratch = await temporaryFolder(stack);
  const { models, worker } = services.get("sd15")!;
  for (const [kind, { file }] of Object.entries(KINDS)) {
    const good = readFileSync(join(FOLDER, "sd15", file));
    for (const [name, spoil] of Object.entries(SPOILED))
      writeFileSync(join(models, kind, `${idOf(name)}.safetensors`), spoil(good));
    cpSync(join(FOLDER, "sd15", file), join(models, kind, "twice.safetensors"));
    cpSync(join(FOLDER, "sd15", file), join(models, kind, "twice/config.json"));
  }
  const names = [...Object.keys(SPOILED).map(idOf), "twice"];
  const odd = putOddThings(join(models, "loras"));
  for (const kind of Object.keys(KINDS) as Kind[]) {
    await until(`${kind} are read`, async () => {
      const { offered, refused } = await shelf(kind);
      return names.every((name) => offered.includes(name) || refused.includes(name));
    });
  }
  const { refused } = await shelf("loras");
  assert.deepEqual(
    odd.filter((id) => !refused.includes(id)),
    [],
  );
  for (const id of odd)
    rmSync(join(models, "loras", `${id.replace(/\.safetensors$/, "")}.safetensors`), { recursive: true });
  for (const [kind, { use }] of Object.entries(KINDS)) {
    for (const name of Object.keys(SPOILED)) {
      const answer = await post("sd15", { ...PLAIN, ...use(idOf(name)) });
      const { code, detail, error } = (await answer.json()) as { code?: string; detail?: string } & Pick<
        Generation,
        "error"
      >;
      const said =
        error === undefined || error === null
          ? `${answer.status} ${code}: ${detail}`
          : `${error.code}: ${error.message}`;
      figures.push(`${kind} ${name}: ${said.slice(0, 150)}`);
      assert.match(
        said,
        name === "of whole numbers"
          ? /^422 unavailable: .*is stored as I32/
          : /^(422 unavailable|422 field_does_not_fit|422 \w+_does_not_fit|generation_failed|not_finite): ./,
        `${kind} ${name}`,
      );
      assert.doesNotMatch(said, /\/tmp\//);
    }
  }
  await generate("sd15", PLAIN);
  assert.equal(worker!.child.exitCode, null);
  for (const kind of Object.keys(KINDS)) {
    for (const name of Object.keys(SPOILED)) rmSync(join(models, kind, `${idOf(name)}.safetensors`));
  }
});

test("two embeddings of one token are refused, and one whose token no prompt has is told", async () => {
  const word = (token: string) => ({ embedding: "a1111", token });
  const refused = await post("sd15", { ...PLAIN, embeddings: [word("<w>"), word("<w>")] });
  const { errors } = (await refused.json()) as { errors: { path: string }[] };
  assert.deepEqual([refused.status, errors[0]!.path], [422, "embeddings[1].token"]);
  const made = (await (await post("sd15", { ...PLAIN, embeddings: [word("<w>")] })).json()) as Generation;
  assert.match(made.warnings.join(), /token <w> stands in neither prompt/);
});

const blocksOf = (language: string) => {
  const docs = readFileSync(join(import.meta.dirname, "../../docs/adapters.md"), "utf8");
  return [...docs.matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, "gs"))].map(([, block]) => block!);
};

test("the commands of docs/adapters.md make a picture with each kind of adapter", async () => {
  const [, ask] = blocksOf("sh");
  const commands = ask!.replaceAll("http://127.0.0.1:8080", services.get("sd15")!.url);
  const { stdout } = await promisify(execFile)("sh", ["-c", commands], { cwd: join(import.meta.dirname, "../..") });
  const asked = commands.match(/^ask ['"]/gm)!.length;
  assert.match(stdout, new RegExp(`^(http\\S+/images/0\\n){${asked}}$`));
});

for (const block of blocksOf("json")) {
  const request: { controls?: { controlnet: string }[] } = JSON.parse(
    block.replaceAll("data:image/png;base64,…", PICTURE()[0]!.image),
  );
  const family = request.controls === undefined ? "sd15" : "sdxl"; // Union and Control-LoRA are SDXL's
  const name = request.controls?.[0]?.controlnet ?? "all of them together";
  test(`the request of docs/adapters.md makes a picture: ${name}`, { skip: !families.includes(family) }, async () => {
    await generate(family, { model: "base", ...request, width: 64, height: 64 });
  });
}

test("an IP-Adapter's scale that names what the U-Net does not have is refused by its field", async () => {
  const misfits = [
    [{ up: { block_0: 1 } }, ".up.block_0"],
    [{ down: { block_1: 0.5, block_7: 1 } }, ".down.block_7"],
    [{ up: [1, 2] }, ".up"],
    [{ up: { block_1: [1, 2, 3, 4] } }, ".up.block_1"],
    [{ mid: { block_0: 1 } }, ".mid"],
  ] as const;
  for (const [scale, path] of misfits) {
    const ip_adapters = [{ ip_adapter: "base", image: PICTURE()[0]!.image, scale }];
    const answer = await post("sd15", { ...PLAIN, ip_adapters });
    const { errors } = (await answer.json()) as { errors: { path: string }[] };
    assert.deepEqual([answer.status, errors[0]!.path], [422, `ip_adapters[0].scale${path}`]);
  }
});

test("an adapter is found, replaced and taken away while the worker runs", async () => {
  const { models } = services.get("sd15")!;
  const file = join(models, "loras/new.safetensors");
  const request = { ...PLAIN, loras: [{ lora: "new" }] };
  const put = (name: string) => {
    rmSync(file, { force: true });
    cpSync(join(FOLDER, "sd15/loras", `${name}.safetensors`), file, { dereference: true });
  };
  put("kohya_attn");
  await until("it is offered", async () => (await shelf("loras")).offered.includes("new"));
  const made = await generate("sd15", request);
  put("full_diff");
  const replaced = await generate("sd15", request); // at once
  assert.notDeepEqual(replaced, made);
  assert.deepEqual(replaced, await generate("sd15", { ...PLAIN, loras: [{ lora: "full_diff" }] }));
  rmSync(file);
  await until("it is gone", async () => !(await shelf("loras")).offered.includes("new"));
  const refused = (await (await post("sd15", request)).json()) as { code: string };
  assert.equal(refused.code, "unknown_lora");
});

test("with LoRA and IP-Adapter, a generation whose worker is killed goes on to the same bytes", async () => {
  const service = services.get("sd15")!;
  const { model, ...request } = requestOf(dirOf("sd15", "everything"), "everything");
  const long = { ...request, model, num_inference_steps: 24 };
  const [whole] = await generate("sd15", long);
  const accepted = (await (
    await fetch(`${service.url}/v1/generations`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(long),
    })
  ).json()) as Generation;
  const read = async () => (await (await fetch(`${service.url}/v1/generations/${accepted.id}`)).json()) as Generation;
  await until("it has begun", async () => (await read()).progress.step >= 2);
  await kill(service.worker!.child, "SIGKILL");
  assert.equal((await read()).status, "processing");
  startNode(stack, "workers/generate/main.ts", service.env);
  const ended = await until(
    "it ends",
    async () => ((await read()).status === "succeeded" ? read() : undefined),
    60_000,
  );
  assert.deepEqual(await (await fetch(ended.images[0]!.url)).bytes(), whole);
});
