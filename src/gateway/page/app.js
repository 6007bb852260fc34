// The page: what the service offers is read, the form is filled in, and what is pressed is done.
import { BASE, Problem, read } from "./api.js";
import { button, byId, make, say, showProblem } from "./element.js";
import { Form } from "./form.js";
import { cancel, generate, lastPictures, picturesOf, withoutControl } from "./generate.js";
import { currentKey, forgetKey } from "./key.js";
import { pictureOfUri } from "./picture.js";
import { bodyOf, missing } from "./request.js";
import { codeOf } from "./snippets.js";
import { Stage } from "./stage.js";
import { openTraining } from "./training.js";

/** @typedef {import("./request.js").Offer} Offer */

const LAST_PICTURES = 8;
const problem = byId("problem");

/** What the service offers; shelves that its document does not have are empty. @returns {Promise<Offer>} */
async function readOffer() {
  const models = (await read("v1/models")).data; // first and alone: it may ask for the key
  const { paths, components } = await read("openapi.json");
  const shelf = async (/** @type {string} */ path) => (path in paths ? (await read(path.slice(1))).data : []);
  const [controlnets, annotators, loras, ipAdapters] = await Promise.all([
    shelf("/v1/controlnets"),
    shelf("/v1/annotators"),
    shelf("/v1/loras"),
    shelf("/v1/ip_adapters"),
  ]);
  return {
    models,
    controlnets,
    annotators: annotators.filter(takesPictures).toSorted(photosFirst),
    loras,
    ipAdapters,
    poses: "pose" in (components?.schemas?.ControlInput?.properties ?? {}),
  };
}

/** Whether an annotator makes maps of pictures here; some make them of key points. @param {{input?: string, available?: boolean}} annotator */
const takesPictures = ({ input = "picture", available = true }) =>
  available && (input === "picture" || input === "depth");

/** What is made of a picture of depth, which a photo is not, comes last. @param {{input?: string}} one @param {{input?: string}} other */
const photosFirst = (one, other) => Number(one.input === "depth") - Number(other.input === "depth");

/** The form as a newcomer finds it: the demo's first request where the demo is served. @param {Form} form @param {Offer} offer */
async function fillIn(form, offer) {
  const state = form.state();
  const demo = offer.models.some(({ id }) => id === "demo") && offer.controlnets.some(({ id }) => id === "canny");
  const first = demo ? await read("page/first-request.json").catch(() => null) : null;
  if (first === null) return form.put({ ...state, prompt: "a house by a lake, mountains behind it, morning light" });
  const controls = first.controls.map((/** @type {any} */ { controlnet, image, ...more }) => ({
    controlnet,
    picture: pictureOfUri(image, `a ${controlnet} map of a house`),
    map: null,
    annotator: "",
    pose: null,
    scale: more.conditioning_scale ?? 1,
    begin: 0,
    end: 1,
    mode: "balanced",
    resize: "stretch",
  }));
  form.put({
    ...state,
    model: "demo",
    prompt: first.prompt,
    seed: first.seed,
    guidance: first.guidance_scale,
    controls,
  });
}

/** @param {Form} form @param {Offer} offer @param {Stage} stage */
function makePictures(form, offer, stage) {
  /** The generation that runs: its id once it is known. @type {{id: string | null, canceled: boolean, over: AbortController} | null} */
  let running = null;

  const setRunning = (/** @type {boolean} */ runs) => {
    button("generate").disabled = runs;
    button("cancel").hidden = !runs;
  };
  const stop = async () => {
    if (running === null) return;
    running.canceled = true;
    if (running.id !== null) await cancel(running.id).catch((error) => showProblem(problem, error));
  };

  const run = async () => {
    if (running !== null) return;
    const state = form.state();
    const lacking = missing(state, offer);
    showProblem(problem, lacking);
    form.mark([]);
    if (lacking !== null) return;
    const current = { id: /** @type {string | null} */ (null), canceled: false, over: new AbortController() };
    running = current;
    setRunning(true);
    stage.begin(state.width ?? 1, state.height ?? 1);
    const told = {
      accepted: (/** @type {any} */ { id }) => {
        current.id = id;
        if (current.canceled) void cancel(id);
      },
      progress: stage.step.bind(stage),
    };
    try {
      const ended = await generate(bodyOf(state, offer), told, current.over.signal);
      if (ended.status === "canceled") stage.end("Canceled.");
      else if (ended.status === "failed") throw new Error(ended.error?.message ?? "It failed.");
      else await showMade(ended, state);
    } catch (error) {
      stage.end("No new picture.");
      showProblem(problem, error);
      if (error instanceof Problem) form.mark(error.errors);
    } finally {
      running = null;
      setRunning(false);
    }
  };

  /** @param {any} ended @param {import("./request.js").State} state */
  async function showMade(ended, state) {
    const pictures = await picturesOf(ended, state);
    const first = pictures.at(-1);
    if (first === undefined) return;
    stage.keep(pictures);
    stage.show(first);
    say(`Done${first.seconds === null ? "" : ` in ${first.seconds.toFixed(1)} seconds`}`);
  }

  byId("request").addEventListener("submit", (event) => {
    event.preventDefault();
    void run();
  });
  button("cancel").addEventListener("click", stop);
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") !== null) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void run();
    if (event.key === "Escape") void stop();
  });
}

/** @param {Form} form @param {Offer} offer @param {Stage} stage */
function usePictures(form, offer, stage) {
  button("reuse").addEventListener("click", () => {
    if (stage.shown === null) return;
    const { state, seed, index } = stage.shown;
    form.put({ ...state, seed: state.seed ?? seed - index });
    say("The form has the settings of this picture");
  });
  button("compare").addEventListener("click", async () => {
    if (stage.shown === null || stage.comparing) return stage.compareWith(null);
    const { shown } = stage;
    const press = button("compare");
    press.disabled = true;
    press.textContent = "Making it without …";
    try {
      const url = await withoutControl(shown, offer, new AbortController().signal);
      if (stage.shown === shown) {
        stage.compareWith(url);
        byId("wipe").focus();
      }
    } catch (error) {
      showProblem(problem, error);
      stage.compareWith(null);
    } finally {
      press.disabled = false;
    }
  });
}

/** @param {Form} form @param {Offer} offer */
function showCode(form, offer) {
  /** @type {import("./snippets.js").Language} */
  let language = "curl";
  const buttons = [...document.querySelectorAll(".languages button")].filter(
    (each) => each instanceof HTMLButtonElement,
  );
  const show = () => {
    const { code, files } = codeOf(language, bodyOf(form.state(), offer), BASE.href, currentKey() !== null);
    byId("code").textContent = code;
    byId("files").hidden = files.length === 0;
    const links = files.flatMap(({ name, picture }) => [make("a", { href: picture.url, download: name }, name), " "]);
    byId("files").replaceChildren("It reads ", ...links, "from the folder that it runs in: save it there first.");
  };
  for (const each of buttons) {
    each.addEventListener("click", () => {
      language = /** @type {import("./snippets.js").Language} */ (each.dataset.language);
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === each));
      show();
    });
  }
  button("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(byId("code").textContent ?? "");
    button("copy").textContent = "Copied";
    say("Copied");
    setTimeout(() => Object.assign(button("copy"), { textContent: "Copy" }), 2000);
  });
  return show;
}

/** Until there is a picture, what it will follow is shown in its place. @param {Form} form @param {Stage} stage */
function showWhatIsFollowed(form, stage) {
  const { controls, start, width, height } = form.state();
  const followed = controls.map(({ map, picture }) => map ?? picture).find((each) => each !== null) ?? start;
  stage.expect(followed ?? null, (width ?? 1) / (height ?? 1));
}

/** The two pages, by the address' hash. @param {Offer} offer */
function showPages(offer) {
  const show = () => {
    const trains = location.hash === "#train";
    byId("create-page").hidden = trains;
    byId("train-page").hidden = !trains;
    for (const link of document.querySelectorAll(".top nav a")) {
      const here = link.getAttribute("href") === (trains ? "#train" : "#create");
      if (here) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (trains) openTraining(offer);
  };
  addEventListener("hashchange", () => {
    show();
    scrollTo(0, 0);
  });
  show();
}

async function start() {
  button("forget-key").addEventListener("click", () => {
    forgetKey();
    location.reload();
  });
  button("forget-key").hidden = currentKey() === null;
  const offer = await readOffer();
  if (offer.models.length === 0)
    throw new Error("The service offers no model yet: its log says why, or it is still loading.");
  const stage = new Stage();
  /** @type {() => void} */
  let show = () => {};
  const form = new Form(offer, () => show());
  await fillIn(form, offer);
  const showRequest = showCode(form, offer);
  show = () => {
    showRequest();
    showWhatIsFollowed(form, stage);
  };
  show();
  makePictures(form, offer, stage);
  usePictures(form, offer, stage);
  showPages(offer);
  const count = (/** @type {any[]} */ list, /** @type {string} */ of) =>
    `${list.length} ${of}${list.length === 1 ? "" : "s"}`;
  byId("service").textContent = `${count(offer.models, "model")}, ${count(offer.controlnets, "ControlNet")}`;
  document.documentElement.dataset.ready = "";
  stage.keep(await lastPictures(LAST_PICTURES));
}

start().catch((error) => {
  byId("caption").textContent = "";
  showProblem(problem, error);
});
