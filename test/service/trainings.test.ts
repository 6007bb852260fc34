/** Trainings over HTTP: gateway, Redis, a generation worker and training workers, all of them real. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pino } from "pino";
import sharp from "sharp";
import supertest from "supertest";
import { create } from "tar";
import { openControlNet } from "../../src/models/base.ts";
import type { Training } from "../../src/schema/training.ts";
import { startTrainer } from "../../workers/train/worker.ts";
import { writeCircles } from "../support/circles.ts";
import { conforms } from "../support/conforms.ts";
import { log, startGateway } from "../support/gateway.ts";
import { freePort, kill, startNode, temporaryFolder, until } from "../support/processes.ts";
import { writeTinyBase } from "../support/tiny-base.ts";

const stack = new AsyncDisposableStack();
after(() => stack.disposeAsync());

const ANN = `ann-${"a".repeat(20)}`;
const BOB = `bob-${"b".repeat(20)}`;
/** Longer than anything here takes on a busy machine. */
const PATIENCE_MS = 240_000;

let gateway: Awaited<ReturnType<typeof startGateway>>;
let http: ReturnType<typeof supertest.agent>;
let data: string;
let models: string;
let datasets: string;
let env: Record<string, string>;

before(async () => {
  data = await temporaryFolder(stack);
  models = await temporaryFolder(stack);
  datasets = await temporaryFolder(stack);
  writeTinyBase(join(models, "base"));
  writeTinyBase(join(models, "xl"), "sdxl");
  await writeCircles(join(datasets, "circles"), 4, 64);
  const settings = { DATA_DIR: data, MODELS_DIR: models, DATASETS_DIR: datasets, EXECUTION_PROVIDER: "cpu" };
  gateway = await startGateway(stack, { ...settings, API_KEYS: `ann:${ANN},bob:${BOB}` });
  env = { ...settings, REDIS_URL: gateway.redis.url };
  http = supertest.agent(gateway.config.PUBLIC_URL).set("Authorization", `Bearer ${ANN}`);
  await gateway.work();
});

const body = (name: string, more: object = {}) => ({
  base: "base",
  name,
  dataset: "folder:circles",
  max_train_steps: 5,
  learning_rate: 1e-3,
  train_batch_size: 2,
  resolution: 64,
  checkpointing_steps: 2,
  random_flip: true,
  ...more,
});

async function post(request: object): Promise<Training> {
  const answer = conforms(await http.post("/v1/trainings").send(request));
  assert.equal(answer.status, 202, answer.text);
  assert.equal(answer.headers.location, `${gateway.config.PUBLIC_URL}/v1/trainings/${answer.body.id}`);
  return answer.body;
}

const read = async ({ id }: { id: string }): Promise<Training> => conforms(await http.get(`/v1/trainings/${id}`)).body;

const ended = (training: Training) =>
  until(
    `the end of ${training.request.name}`,
    async () => {
      const now = await read(training);
      return now.ended_at === null ? undefined : now;
    },
    PATIENCE_MS,
  );

const atStep = (training: Training, step: number) =>
  until(
    `step ${step} of ${training.request.name}`,
    async () => {
      const now = await read(training);
      assert.equal(now.ended_at, null, JSON.stringify(now.error));
      return now.progress.step >= step ? now : undefined;
    },
    PATIENCE_MS,
  );

async function eventsOf(training: Training) {
  const answer = await http.get(`/v1/trainings/${training.id}/events`);
  return [...answer.text.matchAll(/^id: (.*)\nevent: (.*)\ndata: (.*)$/gm)].map(([, id, event, data]) => ({
    id: id!,
    event: event!,
    data: JSON.parse(data!),
  }));
}

const lossesOf = async (training: Training) =>
  (await eventsOf(training)).flatMap(({ event, data }) => (event === "progress" ? [data.loss] : []));

const offered = () => readdirSync(join(models, "controlnets"));

/** A training worker in this process, until the test is over. */
async function trainHere(t: { after(fn: () => Promise<unknown>): void }, to = log, more: object = {}) {
  const trainer = await startTrainer({ ...gateway.config, ...more }, to);
  t.after(() => trainer.close());
}

/** A folder as an archive that was uploaded. */
async function upload(folder: string): Promise<string> {
  const file = join(await temporaryFolder(stack), "a.tar.gz");
  await create({ gzip: true, file, cwd: folder }, ["."]);
  const answer = conforms(await http.post("/v1/uploads").type("application/gzip").send(readFileSync(file)));
  assert.equal(answer.status, 201, answer.text);
  assert.deepEqual([answer.body.width, answer.body.bytes], [null, readFileSync(file).length]);
  return `upload:${answer.body.id}`;
}

let whole: Training;

test("from an archive to a ControlNet that the running service offers and uses", async (t) => {
  const hint = readFileSync(join(datasets, "circles/source/0.png"));
  const image = `data:image/png;base64,${hint.toString("base64")}`;
  const validation = [{ prompt: "red circle", image }];
  const dataset = await upload(datasets);
  const accepted = await post(body("whole", { dataset, validation, metadata: { order: 7 } }));
  assert.equal(accepted.status, "queued");
  assert.equal((await http.post("/v1/trainings").send(body("whole"))).body.code, "name_taken");
  const odd = conforms(await http.post("/v1/trainings").send(body("odd", { resolution: 72 }))).body;
  assert.match(odd.detail, /72 does not fit the model "base": it must be a multiple of 16/);
  await trainHere(t);
  whole = await ended(accepted);
  assert.equal(whole.status, "succeeded", JSON.stringify(whole.error));
  assert.deepEqual([whole.progress, whole.controlnet], [{ step: 5, total: 5 }, "whole"]);
  assert.ok(whole.memory_bytes! > 1e6, "it is said what it needed");
  assert.deepEqual(whole.metadata, { order: 7 });

  const events = await eventsOf(whole);
  assert.deepEqual(
    events.map(({ event, data }) => (event === "progress" ? data.step : event)),
    ["queued", "started", 1, 2, 3, 4, 5, "succeeded"],
  );
  const steps = events.slice(2, -1).map(({ data }) => data);
  assert.ok(steps.every(({ loss, learning_rate, total }) => loss > 0 && learning_rate === 1e-3 && total === 5));
  assert.equal(steps.at(-1).loss, whole.loss);
  assert.deepEqual(
    steps.map(({ validation }) => validation.length),
    [0, 1, 0, 1, 1],
  );
  assert.deepEqual(steps.at(-1).validation, whole.validation);
  const from = await http.get(`/v1/trainings/${whole.id}/events`).set("Last-Event-ID", events[3]!.id);
  assert.match(from.text, /^retry: \d+\n\nid: 3-3\n/);

  const picture = conforms(await http.get(new URL(whole.validation[0]!.url).pathname));
  assert.equal((await sharp(picture.body).metadata()).width, 64);
  assert.equal((await http.get(`/v1/trainings/${whole.id}/validation/3/0`)).status, 404);
  const csv = conforms(await http.get(new URL(whole.loss_csv).pathname))
    .text.trim()
    .split("\n");
  assert.deepEqual(
    csv.slice(1).map((line) => Number(line.split(",")[1])),
    await lossesOf(whole),
  );
  assert.equal((await sharp(conforms(await http.get(new URL(whole.loss_png).pathname)).body).metadata()).format, "png");

  const { data: controlnets } = (await http.get("/v1/controlnets")).body;
  assert.deepEqual(controlnets.find(({ id }: { id: string }) => id === "whole").models, ["base"]);
  const made = await http
    .post("/v1/generations")
    .set("Prefer", "wait=60")
    .send({ model: "base", prompt: "red circle", num_inference_steps: 1, controls: [{ controlnet: "whole", image }] });
  assert.equal(made.body.status, "succeeded", JSON.stringify(made.body.error));
  assert.deepEqual(readdirSync(join(models, "controlnets/whole")).sort(), [
    "config.json",
    "diffusion_pytorch_model.safetensors",
    "training.json",
  ]);
  assert.equal((await http.post("/v1/trainings").send(body("whole"))).status, 409);
  assert.ok(!existsSync(join(data, "trainings", whole.id)), "its work folder is gone");
  const kept = readdirSync(join(data, "artifacts"), { recursive: true, encoding: "utf8" })
    .map((name) => join(data, "artifacts", name))
    .filter((file) => file.includes(whole.id) && statSync(file).isFile());
  const bytes = kept.reduce((sum, file) => sum + statSync(file).size, 0);
  const fields = ["files", "files_pictures", "files_unpacked", "files_work"];
  const [counted, pictures, ...gone] = await gateway.connection.hmget(`training:${whole.id}`, ...fields);
  assert.deepEqual([counted, Number(pictures) > 0, gone], [String(bytes), true, ["0", "0"]]);
});

test("nobody else sees it; metrics count it", async () => {
  const bob = supertest.agent(gateway.config.PUBLIC_URL).set("Authorization", `Bearer ${BOB}`);
  for (const path of ["", "/events", "/loss.csv", "/loss.png", "/validation/5/0"]) {
    assert.equal((await bob.get(`/v1/trainings/${whole.id}${path}`)).status, 404, path);
    assert.equal((await supertest(gateway.config.PUBLIC_URL).get(`/v1/trainings/${whole.id}${path}`)).status, 401);
  }
  assert.equal((await bob.post(`/v1/trainings/${whole.id}/cancel`)).status, 404);
  assert.equal((await bob.delete(`/v1/trainings/${whole.id}`)).status, 404);
  assert.deepEqual(conforms(await bob.get("/v1/trainings")).body.data, []);
  assert.deepEqual(conforms(await http.get("/v1/trainings")).body.data[0], whole);
  assert.equal((await http.get(`/v1/generations/${whole.id}`)).status, 404);
  assert.match((await http.get("/metrics")).text, /controlnet_trainings_ended_total\{status="succeeded"\} 1\n/);
});

test("a ControlNet for SDXL is trained, offered and used like any other", async (t) => {
  await trainHere(t);
  assert.equal((await http.get("/v1/models/xl")).body.trainable, true);
  const done = await ended(await post(body("large", { base: "xl", max_train_steps: 1, train_batch_size: 1 })));
  assert.equal(done.status, "succeeded", JSON.stringify(done.error));
  const { data } = (await http.get("/v1/controlnets")).body;
  assert.deepEqual(data.find(({ id }: { id: string }) => id === "large").models, ["xl"]);
  const image = `data:image/png;base64,${readFileSync(join(datasets, "circles/source/0.png")).toString("base64")}`;
  const request = { model: "xl", prompt: "red circle", num_inference_steps: 1, width: 64, height: 64 };
  const made = await http
    .post("/v1/generations")
    .set("Prefer", "wait=60")
    .send({ ...request, controls: [{ controlnet: "large", image }] });
  assert.equal(made.body.status, "succeeded", JSON.stringify(made.body));
  rmSync(join(models, "controlnets/large"), { recursive: true });
});

test("what needs more memory than MEMORY_BUDGET fails before its first step, with figures", async (t) => {
  await trainHere(t, log, { MEMORY_BUDGET: 1e6 });
  const done = await ended(await post(body("greedy")));
  assert.deepEqual([done.status, done.error!.code, done.progress.step], ["failed", "too_much_memory", 0]);
  assert.match(done.error!.message, /^it needs about \d+ MB of memory: .*; MEMORY_BUDGET allows 1 MB\. /);
});

test("killed with SIGKILL in the middle, a training goes on within 10 s, to the losses of one that was not", async (t) => {
  const first = startNode(stack, "workers/train/main.ts", env);
  const training = await post(body("killed", { max_train_steps: 24 }));
  await atStep(training, 3);
  await kill(first.child, "SIGKILL");
  const killed = Date.now();
  assert.deepEqual(offered(), ["whole"], "nothing is offered before the end");
  await trainHere(t);
  await until("the second attempt", async () => {
    return (await gateway.connection.hget(`training:${training.id}`, "attempt")) === "2";
  });
  const seconds = (Date.now() - killed) / 1000;
  t.diagnostic(`taken over after ${seconds} s`);
  assert.ok(seconds < 10, `it took ${seconds} s`);
  const done = await ended(training);
  assert.equal(done.status, "succeeded", JSON.stringify(done.error));
  const alone = await ended(await post(body("alone", { max_train_steps: 24 })));
  assert.deepEqual(await lossesOf(done), await lossesOf(alone));
  const weights = (name: string) =>
    readFileSync(join(models, "controlnets", name, "diffusion_pytorch_model.safetensors"));
  assert.ok(weights("killed").equals(weights("alone")), "the same weights");
});

test("asked to stop, a worker saves a training and hands it back; the next one goes on from there", async (t) => {
  const first = startNode(stack, "workers/train/main.ts", env);
  const training = await post(body("handed", { max_train_steps: 24, checkpointing_steps: 1000 }));
  await atStep(training, 3);
  await kill(first.child, "SIGTERM");
  assert.equal(first.child.exitCode, 0);
  assert.equal((await read(training)).status, "processing");
  const state = statSync(join(data, "trainings", training.id, "work-1/state.safetensors")).size;
  const work = Number(await gateway.connection.hget(`training:${training.id}`, "files_work"));
  assert.ok(work > state, `${work} bytes are counted as its owner's, where its state alone has ${state}`);
  await trainHere(t);
  const done = await ended(training);
  assert.equal(done.status, "succeeded");
  const csv = (await http.get(`/v1/trainings/${done.id}/loss.csv`)).text.trim().split("\n");
  assert.deepEqual(
    csv.slice(1).map((line) => Number(line.split(",")[0])),
    Array.from({ length: 24 }, (_, i) => i + 1),
  );
});

test("trainings of owners take turns: a long one of one keeps nobody else's waiting, and goes on after it", async (t) => {
  const bob = supertest.agent(gateway.config.PUBLIC_URL).set("Authorization", `Bearer ${BOB}`);
  const long = await post(body("long", { max_train_steps: 100_000 }));
  const trainer = await startTrainer(gateway.config, log, { turnMs: 1, timesPrepared: 0, preparingMs: 60_000 });
  t.after(() => trainer.close());
  await atStep(long, 2);
  const short = conforms(await bob.post("/v1/trainings").send(body("short", { max_train_steps: 1 }))).body;
  const done = await until(
    "the short one's end",
    async () => {
      const now = conforms(await bob.get(`/v1/trainings/${short.id}`)).body;
      return now.ended_at === null ? undefined : now;
    },
    PATIENCE_MS,
  );
  assert.equal(done.status, "succeeded", JSON.stringify(done.error));
  const { status, progress } = await read(long);
  assert.equal(status, "processing");
  await atStep(long, progress.step + 1);
  assert.equal(conforms(await http.post(`/v1/trainings/${long.id}/cancel`)).status, 202);
  assert.equal((await ended(long)).status, "canceled");
  assert.ok(Number(await gateway.connection.hget(`training:${long.id}`, "attempt")) >= 2, "it was taken up again");
  rmSync(join(models, "controlnets/short"), { recursive: true });
});

test("a training that is worked on for longer than TRAINING_TIMEOUT fails, and says so", async (t) => {
  const training = await post(body("endless", { max_train_steps: 100_000 }));
  await trainHere(t, log, { TRAINING_TIMEOUT: 1 });
  const { status, error } = await ended(training);
  assert.deepEqual([status, error!.code, error!.message], ["failed", "timed_out", "it was not done after 1 s of work"]);
  assert.ok(!offered().includes("endless"));
});

test("canceled, a training stops within a step and leaves nothing; deleted, it is gone", async (t) => {
  await trainHere(t);
  const training = await post(body("canceled", { max_train_steps: 10_000 }));
  await atStep(training, 2);
  assert.equal(conforms(await http.post(`/v1/trainings/${training.id}/cancel`)).status, 202);
  const done = await ended(training);
  assert.equal(done.status, "canceled");
  assert.ok(!offered().includes("canceled"));
  await until("its folder to be gone", async () => !existsSync(join(data, "trainings", training.id)));
  assert.equal(conforms(await http.delete(`/v1/trainings/${training.id}`)).status, 204);
  assert.equal(conforms(await http.get(`/v1/trainings/${training.id}`)).status, 404);
  assert.deepEqual(await gateway.connection.keys(`*${training.id}*`), []);
  assert.ok(!existsSync(join(data, "artifacts/trainings", training.id)));
});

test("a worker that died right after a training's end leaves the next one to withdraw it, if it was not to be", async (t) => {
  const controlnets = join(models, "controlnets");
  const given = async (name: string) => {
    const training = await post(body(name));
    await http.post(`/v1/trainings/${training.id}/cancel`);
    cpSync(join(controlnets, "whole"), join(controlnets, name), { recursive: true });
    writeFileSync(join(controlnets, name, "training.json"), JSON.stringify({ id: training.id }));
    mkdirSync(join(data, "trainings", training.id, "work-1"), { recursive: true });
    return training;
  };
  const withdrawn = await given("withdrawn");
  const forgotten = await given("forgotten");
  await http.delete(`/v1/trainings/${forgotten.id}`);
  await trainHere(t);
  assert.ok(!offered().includes("withdrawn"), "it was canceled");
  assert.ok(offered().includes("forgotten"), "nobody knows how it has ended");
  for (const { id } of [withdrawn, forgotten]) assert.ok(!existsSync(join(data, "trainings", id)));
  rmSync(join(controlnets, "forgotten"), { recursive: true });
});

test("a disk that is full stops a training with a warning, and it goes on when there is room", async (t) => {
  const training = await post(body("full"));
  const work = join(data, "trainings", training.id, "work-1");
  mkdirSync(work, { recursive: true });
  symlinkSync("/dev/full", join(work, "state.safetensors.part")); // what the first save is written to
  await trainHere(t);
  const waiting = await until(
    "its warning",
    async () => {
      const now = await read(training);
      return now.warnings.length > 0 ? now : undefined;
    },
    PATIENCE_MS,
  );
  assert.equal(waiting.status, "processing");
  assert.match(waiting.warnings[0]!, /disk is full/);
  const done = await ended(training);
  assert.deepEqual([done.status, done.warnings], ["succeeded", []]);
  assert.deepEqual(await lossesOf(done), await lossesOf(whole));
});

test("a Redis that takes nothing in for a while costs a training no event, and not the training either", async (t) => {
  const lines: string[] = [];
  const said = (what: string) => until(what, async () => lines.some((line) => line.includes(what)), PATIENCE_MS);
  const training = await post(body("unheard", { checkpointing_steps: 1 }));
  const work = join(data, "trainings", training.id, "work-1");
  mkdirSync(work, { recursive: true });
  symlinkSync("/dev/full", join(work, "state.safetensors.part")); // what the first save is written to
  await trainHere(t, pino({}, { write: (line) => void lines.push(line) }));
  await until("its start", async () => (await read(training)).status === "processing", PATIENCE_MS);
  await gateway.connection.config("SET", "maxmemory", "1");
  await said("the warning is not told");
  await said("a step is not told of yet");
  await gateway.connection.config("SET", "maxmemory", "0");
  const done = await ended(training);
  assert.equal(done.status, "succeeded", JSON.stringify(done.error));
  assert.equal(await gateway.connection.hget(`training:${training.id}`, "attempt"), "1");
  assert.deepEqual(
    (await eventsOf(done)).map(({ event, data }) => (event === "progress" ? data.step : event)),
    ["queued", "started", 1, 2, 3, 4, 5, "succeeded"],
  );
});

test("a client that deletes a training in the moment of its success does not take back what it has made", async (t) => {
  const training = await post(body("kept"));
  const PORT = String(await freePort());
  const url = `http://127.0.0.1:${PORT}`;
  startNode(stack, "src/gateway/server.ts", { ...env, PORT, API_KEYS: `ann:${ANN}` });
  await until("another gateway", () => fetch(`${url}/health`).catch(() => null));
  const script = `fetch("${url}/v1/trainings/${training.id}", { method: "DELETE", headers: { authorization: "Bearer ${ANN}" } })
    .then(({ status }) => console.log(status))`;
  let answer = "";
  /** Between the training's end and its cleaning up, the worker says so in its log: there it is held until the record is gone. */
  const write = (line: string) => {
    if (JSON.parse(line).msg === "succeeded") answer = spawnSync(process.execPath, ["-e", script]).stdout.toString();
  };
  await trainHere(t, pino({}, { write }));
  await until("its end", async () => answer !== "", PATIENCE_MS);
  assert.equal(answer, "204\n");
  await until("its folder to be gone", async () => !existsSync(join(data, "trainings", training.id)));
  assert.ok(offered().includes("kept"));
  openControlNet(join(models, "controlnets/kept"));
  assert.equal(conforms(await http.get(`/v1/trainings/${training.id}`)).status, 404);
  assert.ok(!existsSync(join(data, "artifacts/trainings", training.id)));
});

test("a dataset that cannot be trained on fails before the first step, with all that is wrong", async (t) => {
  const broken = join(await temporaryFolder(stack), "set");
  await writeCircles(broken, 3, 64);
  truncateSync(join(broken, "target/1.png"), 60);
  const lines = readFileSync(join(broken, "prompt.json"), "utf8").trim().split("\n");
  const long = { ...JSON.parse(lines[0]!), prompt: "red circle ".repeat(60) };
  writeFileSync(join(broken, "prompt.json"), [JSON.stringify(long), ...lines.slice(1)].join("\n"));
  for (const name of ["missing", "outside"]) mkdirSync(join(datasets, name));
  await writeCircles(join(datasets, "linked"), 2, 64);
  rmSync(join(datasets, "linked/source/1.png"));
  symlinkSync("/etc/hostname", join(datasets, "linked/source/1.png"));
  const cases: [name: string, dataset: string, says: RegExp][] = [
    ["undecodable", await upload(broken), /^prompt.json:1: the prompt is longer .*\nprompt.json:2: 1.png: /],
    ["empty", await upload(await temporaryFolder(stack)), /no prompt.json and no metadata.jsonl in it/],
    ["missing", "folder:missing", /DATASETS_DIR has no folder "missing"/],
    ["outside", "folder:outside", /"outside" leads out of DATASETS_DIR/],
    ["linked", "folder:linked", /the link "source\/1.png" leads out of the dataset/],
  ];
  const accepted: Training[] = [];
  for (const [name, dataset] of cases) accepted.push(await post(body(`bad-${name}`, { dataset })));
  for (const name of ["missing", "outside"]) rmSync(join(datasets, name), { recursive: true });
  symlinkSync("/etc", join(datasets, "outside"));
  await trainHere(t);
  for (const [i, [name, , says]] of cases.entries()) {
    const done = await ended(accepted[i]!);
    assert.deepEqual([done.status, done.error?.code, done.progress.step], ["failed", "dataset_invalid", 0], name);
    assert.match(done.error!.message, says);
    assert.ok(!done.error!.message.includes(data), "it names no folder of the worker's");
  }
  assert.deepEqual(
    offered().filter((name) => name.startsWith("bad") || name.startsWith(".")),
    [],
  );
});

test("what was trained opens as any ControlNet does", () => {
  for (const name of offered()) openControlNet(join(models, "controlnets", name));
});
