// Elements: found by their id, made with their properties, copied from the document's templates.

/**
 * The element of the document that has this id.
 * @template {Element} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} [type] of what it must be
 * @returns {T}
 */
export function byId(id, type) {
  const found = document.getElementById(id);
  if (found === null || (type && !(found instanceof type))) throw new Error(`the page has no ${type?.name} #${id}`);
  return /** @type {any} */ (found);
}

/** @param {string} id */
export const input = (id) => byId(id, HTMLInputElement);
/** @param {string} id */
export const select = (id) => byId(id, HTMLSelectElement);
/** @param {string} id */
export const button = (id) => byId(id, HTMLButtonElement);

/**
 * The first element under `root` that a selector finds.
 * @template {Element} T
 * @param {Element} root
 * @param {string} selector
 * @param {new () => T} type of what it must be
 * @returns {T}
 */
export function within(root, selector, type) {
  const found = root.querySelector(selector);
  if (!(found instanceof type)) throw new Error(`there is no ${type.name} ${selector}`);
  return found;
}

/**
 * A new element.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, unknown>} [properties] of the element; those with a dash are attributes
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) element.setAttribute(name, String(value));
    else Object.assign(element, { [name]: value });
  }
  element.append(...children);
  return element;
}

/** A copy of a template's only element. @param {string} id @returns {HTMLElement} */
export function copyOf(id) {
  const first = byId(id, HTMLTemplateElement).content.firstElementChild;
  return /** @type {HTMLElement} */ (first?.cloneNode(true));
}

/** Fills a choice; keeps what was chosen where it is still there. @param {HTMLSelectElement} choice @param {[value: string, label: string][]} options */
export function fill(choice, options) {
  const chosen = choice.value;
  choice.replaceChildren(...options.map(([value, label]) => make("option", { value }, label)));
  if (options.some(([value]) => value === chosen)) choice.value = chosen;
}

/** Shows each slider's value beside its label. @param {Element} root */
export function showValues(root) {
  for (const slider of root.querySelectorAll(".slider")) {
    const range = within(slider, "input", HTMLInputElement);
    const output = within(slider, "output", HTMLOutputElement);
    const show = () => {
      output.value = range.step.includes(".") ? Number(range.value).toFixed(2) : range.value;
    };
    range.addEventListener("input", show);
    show();
  }
}

/** Sets a slider, and what is shown of it. @param {HTMLInputElement} range @param {number} value */
export function slide(range, value) {
  range.value = String(value);
  range.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Tells a screen reader. @param {string} text */
export function say(text) {
  byId("said").textContent = text;
}

/** Shows what is wrong, or hides it: `null`. @param {HTMLElement} place @param {unknown} problem */
export function showProblem(place, problem) {
  place.hidden = problem === null;
  place.textContent = problem === null ? "" : problem instanceof Error ? problem.message : String(problem);
}
