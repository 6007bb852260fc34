// Training: a set is uploaded, and its loss and its pictures are watched.
import { call, events, Problem, post, read, readPicture } from "./api.js";
import { button, byId, fill, input, make, say, select, showProblem } from "./element.js";
import { Slot } from "./slot.js";

const problem = byId("training-problem");
const TYPES = /** @type {[RegExp, string][]} */ ([
  [/\.zip$/i, "application/zip"],
  [/\.tar$/i, "application/x-tar"],
  [/\.(tgz|gz)$/i, "application/gzip"],
]);
const NUMBERS = ["max_train_steps", "checkpointing_steps", "learning_rate", "train_batch_size", "resolution"];
/** The curve's width and height, as the page's `viewBox` has them. */
const [WIDTH, HEIGHT] = [600, 180];

let opened = false;
/** @type {{id: string, over: AbortController} | null} */
let watching = null;

/** Shows the page of trainings; the first time it is filled in. @param {import("./request.js").Offer} offer */
export function openTraining(offer) {
  void listTrainings();
  if (opened) return;
  opened = true;
  const able = offer.models.filter(({ trainable }) => trainable);
  byId("training").hidden = able.length === 0;
  byId("untrainable").hidden = able.length > 0;
  byId("untrainable").textContent =
    "Nothing can be trained on the models that are served here: a folder of Stable Diffusion 1.x or 2.x, in a MODELS_DIR of your own, can.";
  fill(
    select("base"),
    able.map(({ id }) => [id, id]),
  );
  input("resolution").value = able[0]?.width ?? "512";
  const slot = new Slot(byId("validation-slot"), "Drop a map, or choose one", () => {});
  byId("training").addEventListener("submit", (event) => {
    event.preventDefault();
    void train(slot);
  });
  button("cancel-training").addEventListener("click", async () => {
    if (watching !== null)
      await post(`v1/trainings/${watching.id}/cancel`).catch((error) => showProblem(problem, error));
  });
}

/** @param {Slot} slot the validation's map */
async function train(slot) {
  const file = input("dataset").files?.[0];
  const name = input("training-name").value.trim();
  showProblem(problem, file === undefined ? "Choose a set of pictures first." : name === "" ? "Give it a name." : null);
  if (file === undefined || name === "") return;
  button("train").disabled = true;
  try {
    say("Uploading the set");
    const type = TYPES.find(([pattern]) => pattern.test(file.name))?.[1] ?? "application/zip";
    const upload = await (
      await call("v1/uploads", { method: "POST", headers: { "Content-Type": type }, body: file })
    ).json();
    const numbers = Object.fromEntries(NUMBERS.map((id) => [id, Number(input(id).value)]));
    const prompt = input("validation-prompt").value;
    const validation = slot.picture === null ? [] : [{ prompt, image: await slot.picture.source() }];
    const body = { base: select("base").value, name, dataset: `upload:${upload.id}`, ...numbers, validation };
    void watch(await (await post("v1/trainings", body)).json());
  } catch (error) {
    showProblem(problem, error);
  } finally {
    button("train").disabled = false;
  }
}

/** Follows a training from its first event to its last. @param {any} training */
async function watch(training) {
  watching?.over.abort();
  const { id, request } = training;
  const current = { id, over: new AbortController() };
  watching = current;
  byId("watched").hidden = false;
  byId("watched-title").textContent = request.name;
  byId("validation-pictures").replaceChildren();
  button("cancel-training").hidden = training.ended_at !== null;
  /** @type {{step: number, loss: number}[]} */
  const losses = [];
  drawLoss(losses, request.max_train_steps);
  tell(training);
  byId("watched").scrollIntoView({ block: "nearest" });
  try {
    for await (const { event, data } of events(`v1/trainings/${id}/events`, current.over.signal)) {
      if (event !== "progress") {
        tell(data);
        continue;
      }
      losses.push({ step: data.step, loss: data.loss });
      drawLoss(losses, data.total);
      for (const picture of data.validation) void showPicture(picture);
      Object.assign(byId("training-progress", HTMLProgressElement), { max: data.total, value: data.step });
      byId("training-said").textContent = `Step ${data.step} of ${data.total}, loss ${data.loss.toPrecision(3)}`;
    }
  } catch (error) {
    if (!current.over.signal.aborted) showProblem(problem, error);
  }
  if (watching === current) await listTrainings();
}

const SAID = /** @type {Record<string, string>} */ ({
  queued: "Waiting for its turn …",
  processing: "Getting ready …",
  canceled: "Canceled.",
});

/** @param {any} training */
function tell(training) {
  const { status, error, controlnet, warnings } = training;
  const text =
    status === "succeeded" ? `Done: "${controlnet}" is offered.` : status === "failed" ? error?.message : SAID[status];
  byId("training-said").textContent = [text, ...warnings].join(" ");
  button("cancel-training").hidden = training.ended_at !== null;
  say(text);
}

/** @param {{step: number, loss: number}[]} losses @param {number} total steps */
function drawLoss(losses, total) {
  const most = Math.max(...losses.map(({ loss }) => loss), Number.MIN_VALUE);
  const points = losses.map(({ step, loss }) => {
    const [x, y] = [(step / total) * WIDTH, HEIGHT - 6 - (loss / most) * (HEIGHT - 12)];
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  byId("loss", SVGSVGElement).querySelector("polyline")?.setAttribute("points", points.join(" "));
  const latest = losses.at(-1);
  byId("loss-most").textContent = latest ? `Most ${most.toPrecision(3)}` : "";
  byId("loss-latest").textContent = latest ? `Latest ${latest.loss.toPrecision(3)}` : "No step yet";
}

/** @param {{step: number, index: number, url: string}} picture */
async function showPicture({ step, url }) {
  const blob = await readPicture(url).catch((error) => (error instanceof Problem ? null : Promise.reject(error)));
  if (blob === null) return;
  const label = `Step ${step}`;
  const image = make("img", { src: URL.createObjectURL(blob), alt: `Validation picture of step ${step}` });
  byId("validation-pictures").append(make("li", {}, image, make("span", { className: "hint" }, label)));
}

async function listTrainings() {
  const { data } = await read("v1/trainings?limit=20");
  byId("trainings-part").hidden = data.length === 0;
  byId("trainings").replaceChildren(
    ...data.map((/** @type {any} */ training) => {
      const { request, status, progress, loss } = training;
      const facts = `${status}, step ${progress.step} of ${progress.total}${loss === null ? "" : `, loss ${loss.toPrecision(3)}`}`;
      const open = make("button", { type: "button" }, "Watch");
      open.setAttribute("aria-label", `Watch ${request.name}`);
      open.addEventListener("click", () => void watch(training));
      return make("li", {}, make("strong", {}, request.name), make("span", { className: "hint" }, facts), open);
    }),
  );
}
