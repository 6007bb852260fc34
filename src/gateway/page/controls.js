// The list of controls: a card each, with its ControlNet, its picture or map, and its sliders.
import { call, onThisService, Problem } from "./api.js";
import { copyOf, fill, make, showValues, slide, within } from "./element.js";
import { Picture, pictureOfCanvas } from "./picture.js";
import { editPose, pictureOfPose } from "./pose.js";
import { draw } from "./sketch.js";
import { Slot } from "./slot.js";

/** @typedef {import("./request.js").ControlState} ControlState */
/** @typedef {{offer: import("./request.js").Offer, model: () => string, size: () => {width: number, height: number}, changed: () => void}} Around */

const SCRIBBLE_PEN = 2.4;

/** The state of a control that nobody has touched. @param {string} controlnet @returns {ControlState} */
export const untouched = (controlnet) => ({
  controlnet,
  picture: null,
  map: null,
  annotator: "",
  pose: null,
  scale: 1,
  begin: 0,
  end: 1,
  mode: "balanced",
  resize: "stretch",
});

export class ControlCard {
  element = copyOf("control-card");
  #around;
  #net = within(this.element, ".net", HTMLSelectElement);
  #annotator = within(this.element, ".annotator", HTMLSelectElement);
  #mode = within(this.element, ".mode", HTMLSelectElement);
  #resize = within(this.element, ".resize", HTMLSelectElement);
  #scale = within(this.element, ".scale", HTMLInputElement);
  #begin = within(this.element, ".begin", HTMLInputElement);
  #end = within(this.element, ".end", HTMLInputElement);
  #slot;
  /** @type {Picture | null} */
  #map = null;
  /** @type {import("./pose.js").Pose | null} */
  #pose = null;
  /** @type {import("./sketch.js").Drawing | null} */
  #drawing = null;
  /** Counts what is asked of annotators, so that a late answer is told from the latest. */
  #asked = 0;

  /**
   * @param {ControlState} state
   * @param {Around} around
   * @param {(card: ControlCard) => void} onRemove
   */
  constructor(state, around, onRemove) {
    this.#around = around;
    this.#slot = new Slot(
      within(this.element, ".slot-place", HTMLElement),
      "Drop a picture, or choose one",
      (_, byHand) => this.#pictureChanged(byHand),
    );
    this.fits();
    const { annotators } = around.offer;
    fill(this.#annotator, [
      ["", "Nothing: it is one"],
      .../** @type {[string, string][]} */ (annotators.map(({ id }) => [id, nameOf(id)])),
    ]);
    within(this.element, ".annotator-row", HTMLElement).hidden = annotators.length === 0;
    this.#put(state);
    showValues(this.element);
    this.#listen(onRemove);
  }

  /** Offers the ControlNets that fit the model. */
  fits() {
    const model = this.#around.model();
    const nets = this.#around.offer.controlnets.filter(({ models }) => models.includes(model));
    fill(
      this.#net,
      nets.map(({ id }) => [id, nameOf(id)]),
    );
    this.#nameButtons();
  }

  /** @returns {ControlState} */
  state() {
    return {
      controlnet: this.#net.value,
      picture: this.#slot.picture,
      map: this.#map,
      annotator: this.#annotator.value,
      pose: this.#pose,
      scale: Number(this.#scale.value),
      begin: Number(this.#begin.value),
      end: Number(this.#end.value),
      mode: this.#mode.value,
      resize: this.#resize.value,
    };
  }

  /** @param {ControlState} state */
  #put(state) {
    this.#net.value = state.controlnet;
    this.#slot.put(state.picture);
    this.#annotator.value = state.annotator;
    this.#pose = state.pose;
    this.#map = state.map;
    if (state.map !== null) this.#slot.showMap(state.map);
    slide(this.#scale, state.scale);
    slide(this.#begin, state.begin);
    slide(this.#end, state.end);
    this.#mode.value = state.mode;
    this.#resize.value = state.resize;
    this.#nameButtons();
  }

  /** @param {(card: ControlCard) => void} onRemove */
  #listen(onRemove) {
    within(this.element, ".remove", HTMLButtonElement).addEventListener("click", () => onRemove(this));
    within(this.element, ".draw", HTMLButtonElement).addEventListener("click", () => this.scribble());
    within(this.element, ".pose", HTMLButtonElement).addEventListener("click", () => this.pose());
    this.#annotator.addEventListener("change", () => this.#annotate());
    this.#net.addEventListener("change", () => this.#nameButtons());
    // The window must not be empty: each end pushes the other on.
    const least = 0.05;
    this.#begin.addEventListener("change", () => {
      if (Number(this.#end.value) <= Number(this.#begin.value)) slide(this.#end, Number(this.#begin.value) + least);
    });
    this.#end.addEventListener("change", () => {
      if (Number(this.#end.value) <= Number(this.#begin.value)) slide(this.#begin, Number(this.#end.value) - least);
    });
  }

  /** Opens the drawing board; what is drawn is the map. */
  async scribble() {
    const size = this.#around.size();
    const drawn = await draw({ title: "Scribble", ...size, pen: SCRIBBLE_PEN, strokes: this.#drawing?.strokes ?? [] });
    if (drawn === null) return;
    this.#putMap(drawn.picture);
    this.#drawing = drawn;
    this.#around.changed();
  }

  /** Opens the pose editor. */
  async pose() {
    const { width, height } = this.#around.size();
    const pose = await editPose(this.#pose?.people ?? null, width, height);
    if (pose === null) return;
    const count = pose.people.length === 1 ? "a skeleton" : `${pose.people.length} skeletons`;
    this.#putMap(await pictureOfCanvas(pictureOfPose(pose), count));
    this.#pose = pose;
    this.#around.changed();
  }

  focus() {
    this.#slot.focus();
  }

  /** @param {Picture} picture that is a map already */
  #putMap(picture) {
    this.#annotator.value = "";
    this.#slot.say("");
    this.#slot.put(picture);
  }

  /** @param {boolean} byHand a photo may have come: the annotator that goes by the ControlNet's name is tried on it */
  #pictureChanged(byHand) {
    this.#map = null;
    this.#pose = null;
    if (byHand) {
      const name = this.#net.value.toLowerCase();
      const fitting = this.#around.offer.annotators.find(({ id }) => name.includes(id) || id.includes(name));
      if (this.#annotator.value === "" && fitting) this.#annotator.value = fitting.id;
      void this.#annotate();
    }
    this.#around.changed();
  }

  /** Has the map made, and shows it. */
  async #annotate() {
    const asked = ++this.#asked;
    const { picture } = this.#slot;
    this.#map = null;
    if (picture === null) return;
    this.#slot.showMap(null);
    this.#slot.say("");
    if (this.#annotator.value === "") return this.#around.changed();
    this.#slot.say("Making the map …");
    try {
      const map = await mapOf(picture, this.#annotator.value);
      if (asked !== this.#asked) return;
      this.#map = map;
      this.#slot.showMap(map);
      this.#slot.say("");
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#annotator.value = "";
      this.#slot.say(error instanceof Problem ? error.message : "The map could not be made.");
    }
    this.#around.changed();
  }

  /** Drawing and posing are offered where the ControlNet's name does not say that it is for something else. */
  #nameButtons() {
    const name = this.#net.value.toLowerCase();
    const poses = /pose/.test(name);
    within(this.element, ".pose", HTMLButtonElement).hidden = !poses;
    within(this.element, ".draw", HTMLButtonElement).hidden = poses || /depth|normal|seg/.test(name);
  }
}

/** "hough_lines" as people read it. @param {string} id */
const nameOf = (id) => id.replaceAll(/[_-]+/g, " ");

/** The map that an annotator makes of a picture. @param {Picture} picture @param {string} annotator */
async function mapOf(picture, annotator) {
  const headers = { "Content-Type": "application/json", Accept: "image/png", Prefer: "wait=60" };
  const body = JSON.stringify({ annotator, image: await picture.source() });
  const answer = await call("v1/annotations", { method: "POST", headers, body });
  if (answer.headers.get("Content-Type")?.startsWith("image/"))
    return new Picture(await answer.blob(), `a ${annotator} map`);
  const { images = [], error } = await answer.json();
  if (images[0] === undefined) throw new Problem(422, error?.message ?? "The map took too long.", []);
  return new Picture(await (await call(onThisService(images[0].url))).blob(), `a ${annotator} map`);
}

/** The rows of LoRAs. */
export class LoraRow {
  element = copyOf("lora-row");
  #id = within(this.element, ".lora-id", HTMLSelectElement);
  #scale = within(this.element, ".scale", HTMLInputElement);

  /** @param {{lora: string, scale: number}} state @param {{id: string}[]} loras @param {(row: LoraRow) => void} onRemove */
  constructor({ lora, scale }, loras, onRemove) {
    this.#id.replaceChildren(...loras.map(({ id }) => make("option", { value: id }, id)));
    this.#id.value = lora;
    this.#scale.value = String(scale);
    showValues(this.element);
    within(this.element, ".remove", HTMLButtonElement).addEventListener("click", () => onRemove(this));
  }

  state() {
    return { lora: this.#id.value, scale: Number(this.#scale.value) };
  }
}
