// The stage: the picture that is made or shown, how far it is, with and without control, and the last ones.
import { byId, input, make, say } from "./element.js";

/**
 * A picture that was made.
 * @typedef {object} Shown
 * @property {string} generation id
 * @property {number} index which of its pictures
 * @property {number} seed
 * @property {number} width
 * @property {number} height
 * @property {string} url of its bytes, in this tab
 * @property {string} type
 * @property {string} prompt
 * @property {number | null} seconds from accepted to ended
 * @property {import("./request.js").State} state the form as it was
 * @property {boolean} controlled whether it was made under control
 * @property {string[]} warnings
 */

const MOST_KEPT = 24;
const frame = byId("frame");
const picture = byId("picture", HTMLImageElement);
const without = byId("without", HTMLImageElement);
const progress = byId("progress", HTMLProgressElement);
const caption = byId("caption");
const wipe = input("wipe");

export class Stage {
  /** @type {Shown | null} */
  shown = null;
  /** Newest first. @type {Shown[]} */
  #kept = [];

  constructor() {
    wipe.addEventListener("input", () => frame.style.setProperty("--wipe", `${wipe.value}%`));
    picture.addEventListener("pointermove", (event) => event.buttons === 1 && this.#wipeTo(event));
    without.addEventListener("pointermove", (event) => event.buttons === 1 && this.#wipeTo(event));
    for (const image of [picture, without]) image.draggable = false;
  }

  /** Until there is a picture: shows what it will follow. @param {import("./picture.js").Picture | null} followed @param {number} ratio */
  expect(followed, ratio) {
    if (this.shown !== null || !progress.hidden) return;
    this.#ratio(ratio > 0 && ratio < Number.POSITIVE_INFINITY ? ratio : 1);
    byId("empty").hidden = followed !== null;
    picture.hidden = followed === null;
    if (followed !== null)
      Object.assign(picture, { src: followed.url, alt: `What the picture will follow: ${followed.about}` });
  }

  /** A generation begins. @param {number} width @param {number} height */
  begin(width, height) {
    this.compareWith(null);
    this.#ratio(width / height);
    frame.classList.toggle("waiting", !picture.hidden);
    frame.setAttribute("aria-busy", "true");
    byId("tools").hidden = true;
    byId("empty").hidden = !picture.hidden;
    progress.hidden = false;
    progress.removeAttribute("value");
    caption.textContent = "Waiting for its turn …";
    say("Generating");
    frame.scrollIntoView({ block: "nearest" }); // on a phone it may be above what is seen
  }

  /** @param {number} step @param {number} total @param {string} [preview] a data: URI */
  step(step, total, preview) {
    progress.max = total;
    progress.value = step;
    caption.textContent = `Step ${step} of ${total}`;
    if (preview === undefined) return;
    frame.classList.remove("waiting");
    byId("empty").hidden = true;
    Object.assign(picture, { src: preview, alt: "Preview", hidden: false });
  }

  /** A generation has ended without a picture. @param {string} text */
  end(text) {
    this.#rest();
    if (this.shown !== null) this.show(this.shown);
    caption.textContent = this.shown === null ? text : `${text} The one before: ${caption.textContent}`;
    say(text);
  }

  #rest() {
    progress.hidden = true;
    frame.classList.remove("waiting");
    frame.removeAttribute("aria-busy");
  }

  /** @param {Shown} shown */
  show(shown) {
    this.shown = shown;
    this.#rest();
    this.compareWith(null);
    this.#ratio(shown.width / shown.height);
    byId("empty").hidden = true;
    Object.assign(picture, { src: shown.url, alt: `Picture of: ${shown.prompt}`, hidden: false });
    const facts = [`Seed ${shown.seed}`, `${shown.width} × ${shown.height}`];
    if (shown.seconds !== null) facts.push(`${shown.seconds.toFixed(shown.seconds < 10 ? 2 : 0)} s`);
    caption.textContent = [facts.join(" · "), ...shown.warnings].join(". ");
    byId("tools").hidden = false;
    byId("compare").hidden = !shown.controlled;
    const link = byId("download", HTMLAnchorElement);
    link.href = shown.url;
    link.download = `${shown.generation}-${shown.index}.${shown.type.replace("image/", "")}`;
    this.#mark();
  }

  /** Shows another picture beside the one that is shown, divided by a slider; `null` = no more. @param {string | null} url */
  compareWith(url) {
    const comparing = url !== null;
    without.hidden = byId("wipe-row").hidden = !comparing;
    for (const tag of frame.querySelectorAll(".tag")) /** @type {HTMLElement} */ (tag).hidden = !comparing;
    frame.classList.toggle("comparing", comparing);
    byId("compare").textContent = comparing ? "Show it alone" : "Compare without control";
    if (!comparing) return;
    Object.assign(without, { src: url, alt: "The same without control" });
    wipe.value = "50";
    frame.style.setProperty("--wipe", "50%");
  }

  get comparing() {
    return !without.hidden;
  }

  /** Adds pictures to the last ones. @param {Shown[]} more newest first */
  keep(more) {
    this.#kept = [...more, ...this.#kept];
    for (const { url } of this.#kept.slice(MOST_KEPT)) URL.revokeObjectURL(url);
    this.#kept = this.#kept.slice(0, MOST_KEPT);
    byId("history-part").hidden = this.#kept.length === 0;
    byId("history").replaceChildren(...this.#kept.map((shown) => this.#thumb(shown)));
    this.#mark();
  }

  /** @param {Shown} shown */
  #thumb(shown) {
    const label = `${shown.prompt || "No prompt"}, seed ${shown.seed}`;
    const button = make("button", { type: "button", title: label }, make("img", { src: shown.url, alt: label }));
    button.dataset.of = `${shown.generation}/${shown.index}`;
    button.addEventListener("click", () => {
      if (frame.hasAttribute("aria-busy")) return;
      this.show(shown);
      say(caption.textContent ?? "");
    });
    return make("li", {}, button);
  }

  #mark() {
    const of = this.shown === null ? "" : `${this.shown.generation}/${this.shown.index}`;
    for (const button of byId("history").querySelectorAll("button")) {
      button.setAttribute("aria-current", String(button.dataset.of === of));
    }
  }

  /** @param {number} ratio */
  #ratio(ratio) {
    byId("create-page").style.setProperty("--ratio", String(ratio));
  }

  /** @param {PointerEvent} event */
  #wipeTo({ clientX }) {
    if (!this.comparing) return;
    const { left, width } = frame.getBoundingClientRect();
    wipe.value = String(Math.round(((clientX - left) / width) * 100));
    wipe.dispatchEvent(new Event("input"));
  }
}
