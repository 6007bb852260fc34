// The form: what the request is made of, read from and written to the page.
import { ControlCard, LoraRow, untouched } from "./controls.js";
import { button, byId, fill, input, select, showValues, slide } from "./element.js";
import { draw } from "./sketch.js";
import { Slot } from "./slot.js";

/** @typedef {import("./request.js").State} State */
/** @typedef {import("./request.js").Offer} Offer */

const MASK_PEN = 14;

/** Which ControlNet a way begins with: the first whose name is like one of these. */
const FITTING = {
  pose: /pose/i,
  composition: /canny|edge|depth|seg|line/i,
  scribble: /scribble|sketch/i,
};
/** @typedef {"words" | "similar" | keyof typeof FITTING} Way */

const numberOrNull = (/** @type {string} */ id) => (input(id).value === "" ? null : Number(input(id).value));

export class Form {
  /** @type {ControlCard[]} */
  #cards = [];
  /** @type {LoraRow[]} */
  #loras = [];
  #offer;
  #changed;
  /** @type {import("./sketch.js").Drawing | null} */
  #mask = null;
  #start = new Slot(byId("start-slot"), "Drop a picture, or choose one", () => {
    this.#forgetMask();
    this.#changed();
  });

  /** @param {Offer} offer @param {() => void} changed */
  constructor(offer, changed) {
    this.#offer = offer;
    this.#changed = changed;
    fill(
      select("model"),
      offer.models.map(({ id }) => [id, id]),
    );
    fill(select("similar-by"), [
      ["", "Image to image"],
      .../** @type {[string, string][]} */ (offer.ipAdapters.map(({ id }) => [id, id])),
    ]);
    byId("similar-by-row").hidden = offer.ipAdapters.length === 0;
    byId("loras-part").hidden = offer.loras.length === 0;
    showValues(byId("start-part"));
    this.#modelChanged();
    this.#listen();
  }

  #listen() {
    select("model").addEventListener("change", () => this.#modelChanged());
    button("add-control").addEventListener("click", () => {
      const used = this.#cards.map((card) => card.state().controlnet);
      const nets = this.#fitting();
      const card = this.#addControl(untouched((nets.find(({ id }) => !used.includes(id)) ?? nets[0]).id));
      card.focus();
      this.#changed();
    });
    button("add-lora").addEventListener("click", () => this.#addLora({ lora: this.#offer.loras[0].id, scale: 1 }));
    button("start-remove").addEventListener("click", () => {
      byId("start-part").hidden = true;
      this.#start.put(null);
      byId("prompt").focus();
    });
    button("mask-draw").addEventListener("click", () => this.#paintMask());
    select("similar-by").addEventListener("change", () => {
      byId("mask-part").hidden = select("similar-by").value !== "" || this.#edits();
    });
    for (const way of byId("ways").querySelectorAll("button")) {
      way.addEventListener("click", () => this.begin(/** @type {Way} */ (way.dataset.way)));
    }
    byId("request").addEventListener("input", () => this.#changed());
    byId("request").addEventListener("change", () => this.#changed());
  }

  /** Begins anew in one of the ways that people come by. @param {Way} way */
  begin(way) {
    this.#pressed(way);
    this.#setControls([]);
    byId("start-part").hidden = way !== "similar";
    if (way !== "similar") this.#start.put(null);
    if (way === "words") byId("prompt").focus();
    else if (way === "similar") this.#start.focus();
    else {
      const nets = this.#fitting();
      const net = nets.find(({ id }) => FITTING[way].test(id)) ?? nets[0];
      const card = this.#addControl(untouched(net.id));
      if (way === "pose") void card.pose();
      else if (way === "scribble") void card.scribble();
      else card.focus();
    }
    this.#changed();
  }

  /** @returns {State} */
  state() {
    const shown = !byId("start-part").hidden;
    return {
      prompt: byId("prompt", HTMLTextAreaElement).value,
      negative_prompt: input("negative_prompt").value,
      model: select("model").value,
      width: numberOrNull("width"),
      height: numberOrNull("height"),
      steps: Number(input("steps").value),
      guidance: Number(input("guidance").value),
      scheduler: select("scheduler").value,
      seed: numberOrNull("seed"),
      num_images: Number(input("num_images").value),
      start: shown ? this.#start.picture : null,
      mask: shown ? (this.#mask?.picture ?? null) : null,
      strength: Number(input("strength").value),
      similarBy: select("similar-by").value,
      controls: this.#cards.map((card) => card.state()),
      loras: this.#loras.map((row) => row.state()),
    };
  }

  /** @param {State} state */
  put(state) {
    byId("prompt", HTMLTextAreaElement).value = state.prompt;
    input("negative_prompt").value = state.negative_prompt;
    if (this.#offer.models.some(({ id }) => id === state.model)) select("model").value = state.model;
    this.#modelChanged();
    if (state.width !== null) input("width").value = String(state.width);
    if (state.height !== null) input("height").value = String(state.height);
    input("steps").value = String(state.steps);
    input("guidance").value = String(state.guidance);
    if (state.scheduler !== "") select("scheduler").value = state.scheduler;
    input("seed").value = state.seed === null ? "" : String(state.seed);
    input("num_images").value = String(state.num_images);
    slide(input("strength"), state.strength);
    select("similar-by").value = state.similarBy;
    byId("start-part").hidden = state.start === null;
    this.#start.put(state.start);
    this.#mask = state.mask === null ? null : { picture: state.mask, strokes: [] };
    this.#sayMask();
    this.#setControls(state.controls);
    this.#setLoras(state.loras);
    this.#pressed(state.start !== null ? "similar" : wayOf(state.controls[0]?.controlnet));
    this.#changed();
  }

  /** Marks the fields that the service finds wrong. @param {{path: string}[]} errors */
  mark(errors) {
    const paths = new Set(errors.map(({ path }) => path));
    for (const [id, path] of Object.entries(PATHS)) {
      byId(id).toggleAttribute("aria-invalid", false);
      if (paths.has(path)) byId(id).setAttribute("aria-invalid", "true");
    }
  }

  #modelChanged() {
    const model = this.#offer.models.find(({ id }) => id === select("model").value);
    if (model === undefined) return;
    input("width").value = model.width;
    input("height").value = model.height;
    fill(
      select("scheduler"),
      model.schedulers.map((/** @type {any} */ { id }) => [id, id === model.scheduler ? `${id} (the model's)` : id]),
    );
    select("scheduler").value = model.scheduler;
    byId("controls-part").hidden = this.#fitting().length === 0;
    for (const way of byId("ways").querySelectorAll("button")) {
      way.hidden = this.#fitting().length === 0 && (way.dataset.way ?? "") in FITTING;
    }
    if (model.inpainting || model.instruct_pix2pix) byId("start-part").hidden = false;
    byId("strength-row").hidden = byId("mask-part").hidden = this.#edits();
    for (const card of this.#cards) card.fits();
  }

  #edits() {
    return this.#offer.models.find(({ id }) => id === select("model").value)?.instruct_pix2pix === true;
  }

  #fitting() {
    return this.#offer.controlnets.filter(({ models }) => models.includes(select("model").value));
  }

  #size() {
    return { width: Number(input("width").value), height: Number(input("height").value) };
  }

  /** @param {import("./request.js").ControlState} state */
  #addControl(state) {
    const around = {
      offer: this.#offer,
      model: () => select("model").value,
      size: () => this.#size(),
      changed: this.#changed,
    };
    const card = new ControlCard(state, around, (removed) => {
      this.#cards = this.#cards.filter((one) => one !== removed);
      removed.element.remove();
      button("add-control").focus();
      this.#changed();
    });
    this.#cards.push(card);
    byId("controls").append(card.element);
    return card;
  }

  /** @param {import("./request.js").ControlState[]} states */
  #setControls(states) {
    this.#cards = [];
    byId("controls").replaceChildren();
    for (const state of states) this.#addControl(state);
  }

  /** @param {{lora: string, scale: number}} state */
  #addLora(state) {
    const row = new LoraRow(state, this.#offer.loras, (removed) => {
      this.#loras = this.#loras.filter((one) => one !== removed);
      removed.element.remove();
      button("add-lora").focus();
      this.#changed();
    });
    this.#loras.push(row);
    byId("loras").append(row.element);
    this.#changed();
  }

  /** @param {State["loras"]} states */
  #setLoras(states) {
    this.#loras = [];
    byId("loras").replaceChildren();
    for (const state of states) this.#addLora(state);
  }

  async #paintMask() {
    const { picture } = this.#start;
    if (picture === null) return this.#start.focus();
    const strokes = this.#mask?.strokes ?? [];
    const title = "Paint what to change";
    const drawn = await draw({ title, ...this.#size(), pen: MASK_PEN, on: picture.blob, strokes });
    if (drawn === null) return;
    this.#mask = drawn.strokes.length === 0 ? null : drawn;
    this.#sayMask();
    this.#changed();
  }

  #forgetMask() {
    this.#mask = null;
    this.#sayMask();
  }

  #sayMask() {
    byId("mask-said").textContent =
      this.#mask === null ? "All of it is made anew." : "Only what is painted is made anew.";
  }

  /** @param {Way | undefined} way */
  #pressed(way) {
    for (const each of byId("ways").querySelectorAll("button")) {
      each.setAttribute("aria-pressed", String(each.dataset.way === way));
    }
  }
}

/** Which field of a request each field of the form is. */
const PATHS = {
  prompt: "prompt",
  negative_prompt: "negative_prompt",
  width: "width",
  height: "height",
  steps: "num_inference_steps",
  guidance: "guidance_scale",
  seed: "seed",
  num_images: "num_images",
  strength: "strength",
  scheduler: "scheduler",
  model: "model",
};

/** @param {string | undefined} controlnet @returns {Way | undefined} */
function wayOf(controlnet) {
  if (controlnet === undefined) return "words";
  const ways = /** @type {(keyof typeof FITTING)[]} */ (Object.keys(FITTING));
  return ways.find((way) => FITTING[way].test(controlnet));
}
