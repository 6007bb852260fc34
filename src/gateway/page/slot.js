// A place for a picture: chosen, dropped, pasted, or put there by an editor.
import { make } from "./element.js";
import { Picture, pictureOfFile } from "./picture.js";

export class Slot {
  /** @type {Picture | null} */
  picture = null;
  #drop = make("button", { type: "button", className: "drop" });
  #file = make("input", { type: "file", accept: "image/*", hidden: true, tabIndex: -1 });
  #said = make("p", { className: "hint", hidden: true });
  #prompt;
  #onChange;

  /**
   * @param {Element} place
   * @param {string} prompt what to put there, in words
   * @param {(picture: Picture | null, byHand: boolean) => void} onChange
   */
  constructor(place, prompt, onChange) {
    this.#prompt = prompt;
    this.#onChange = onChange;
    place.replaceChildren(make("div", { className: "slot" }, this.#drop, this.#file, this.#said));
    this.#drop.addEventListener("click", () => this.#file.click());
    this.#file.addEventListener("change", () => this.#take(this.#file.files?.[0]));
    this.#drop.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.#drop.classList.add("over");
    });
    this.#drop.addEventListener("dragleave", () => this.#drop.classList.remove("over"));
    this.#drop.addEventListener("drop", (event) => {
      event.preventDefault();
      this.#drop.classList.remove("over");
      void this.#take(event.dataTransfer?.files[0]);
    });
    this.#drop.addEventListener("paste", (event) => void this.#take(event.clipboardData?.files[0]));
    this.#show(null);
  }

  /** Puts a picture there, or takes it away. @param {Picture | null} picture */
  put(picture) {
    this.picture = picture;
    this.#show(picture);
    this.#onChange(picture, false);
  }

  /** Shows another picture in its place: the map that was made of it. @param {Picture | null} map */
  showMap(map) {
    this.#show(map ?? this.picture);
  }

  /** Says something below: what is being done, or what went wrong. @param {string} text */
  say(text) {
    this.#said.hidden = text === "";
    this.#said.textContent = text;
  }

  /** Moves the keyboard there. */
  focus() {
    this.#drop.focus();
  }

  /** @param {File | undefined} file */
  async #take(file) {
    if (file === undefined) return;
    this.#file.value = "";
    try {
      this.picture = await pictureOfFile(file);
      this.say("");
      this.#show(this.picture);
      this.#onChange(this.picture, true);
    } catch (error) {
      this.say(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {Picture | null} picture */
  #show(picture) {
    this.#drop.classList.toggle("full", picture !== null);
    if (picture === null) {
      this.#drop.replaceChildren(make("span", {}, this.#prompt));
      return;
    }
    const alt = `${this.#prompt}. Now: ${picture.about}`;
    this.#drop.replaceChildren(make("img", { src: picture.url, alt }));
  }
}
