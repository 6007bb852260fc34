// The drawing board: white on black for a scribble, white over a picture for what is to be painted anew.
import { button, byId, input, say, showValues } from "./element.js";
import { pictureOfCanvas } from "./picture.js";

/** The board's smaller side has at least so many pixels; the drawing is then made as small as the picture. */
const FINE = 512;
/** The pen is given in 1/128 of the smaller side. */
const PENS = 128;
/** An arrow key moves the pen by this share of the smaller side. */
const STEP = 1 / 48;

/** @typedef {{erases: boolean, width: number, points: [number, number][]}} Stroke in pixels of the board */

const dialog = byId("sketch-dialog", HTMLDialogElement);
const canvas = byId("sketch-canvas", HTMLCanvasElement);
const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
const pen = input("pen");
showValues(dialog);

/** @type {Stroke[]} */
let strokes = [];
/** @type {Stroke | null} */
let current = null;
/** @type {ImageBitmap | null} */
let below = null;
let erases = false;
/** Where the keyboard's pen is; null while it is not used. @type {[number, number] | null} */
let cursor = null;
/** The picture's size. */
let size = { width: 1, height: 1 };
/** @type {(value: Drawing | null) => void} */
let done = () => {};

/** @typedef {{picture: import("./picture.js").Picture, strokes: Stroke[]}} Drawing */

/**
 * Lets somebody draw.
 * @param {{title: string, width: number, height: number, pen: number, on?: Blob, strokes?: Stroke[]}} what `on`: a picture to
 * paint over, of which only the strokes are given back; `pen`: in 1/128 of the smaller side
 * @returns {Promise<Drawing | null>} null when it is given up
 */
export async function draw({ title, width, height, pen: wide, on, strokes: earlier = [] }) {
  size = { width, height };
  const fine = Math.max(1, FINE / Math.min(width, height));
  canvas.width = Math.round(width * fine);
  canvas.height = Math.round(height * fine);
  below = on === undefined ? null : await createImageBitmap(on);
  strokes = [...earlier];
  cursor = null;
  pen.value = String(wide);
  pen.dispatchEvent(new Event("input"));
  setErases(false);
  byId("sketch-title").textContent = title;
  dialog.style.setProperty("--ratio", String(width / height));
  paint();
  dialog.showModal();
  canvas.focus();
  return new Promise((resolve) => {
    done = resolve;
  });
}

/** Draws everything anew; with the picture below only when it is to be seen. @param {boolean} [seen] */
function paint(seen = true) {
  context.globalCompositeOperation = "source-over";
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (const { erases, width, points } of current ? [...strokes, current] : strokes) {
    context.globalCompositeOperation = erases ? "destination-out" : "source-over";
    context.strokeStyle = "#fff";
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = width;
    context.beginPath();
    const [first = [0, 0]] = points;
    context.moveTo(...first);
    for (const point of points) context.lineTo(...point);
    context.stroke();
  }
  context.globalCompositeOperation = "destination-over";
  if (seen && below !== null) {
    context.globalAlpha = 0.55;
    context.drawImage(below, 0, 0, canvas.width, canvas.height);
    context.globalAlpha = 1;
  }
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.globalCompositeOperation = "source-over";
  if (seen && cursor !== null) {
    context.strokeStyle = "#e33";
    context.lineWidth = 2;
    context.beginPath();
    context.arc(...cursor, penWidth() / 2 + 3, 0, 2 * Math.PI);
    context.stroke();
  }
}

const penWidth = () => (Number(pen.value) * Math.min(canvas.width, canvas.height)) / PENS;

/** @param {[number, number]} at */
function begin(at) {
  current = { erases, width: penWidth(), points: [at] };
  paint();
}

function lift() {
  if (current !== null) strokes.push(current);
  current = null;
}

/** @param {PointerEvent} event @returns {[number, number]} */
function pointOf({ clientX, clientY }) {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  return [((clientX - left) / width) * canvas.width, ((clientY - top) / height) * canvas.height];
}

canvas.addEventListener("pointerdown", (event) => {
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  cursor = null;
  begin(pointOf(event));
});
canvas.addEventListener("pointermove", (event) => {
  if (current === null || cursor !== null) return;
  for (const each of event.getCoalescedEvents?.() ?? [event]) current.points.push(pointOf(each));
  paint();
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, lift);

const MOVES = /** @type {Record<string, [number, number]>} */ ({
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
});
canvas.addEventListener("keydown", (event) => {
  const move = MOVES[event.key];
  if (move === undefined && event.key !== " ") return;
  event.preventDefault();
  cursor ??= [canvas.width / 2, canvas.height / 2];
  if (move !== undefined) {
    const step = STEP * Math.min(canvas.width, canvas.height);
    const [x, y] = cursor;
    cursor = [clamp(x + move[0] * step, canvas.width), clamp(y + move[1] * step, canvas.height)];
    current?.points.push(cursor);
  } else if (current === null) {
    begin(cursor);
    say("Pen down");
  } else {
    lift();
    say("Pen up");
  }
  paint();
});
const clamp = (/** @type {number} */ value, /** @type {number} */ most) => Math.min(most, Math.max(0, value));

/** @param {boolean} value */
function setErases(value) {
  erases = value;
  button("erase").setAttribute("aria-pressed", String(value));
}
button("erase").addEventListener("click", () => setErases(!erases));
button("undo").addEventListener("click", () => {
  lift();
  strokes.pop();
  paint();
});
button("clear").addEventListener("click", () => {
  current = null;
  strokes = [];
  paint();
});
button("sketch-done").addEventListener("click", async () => {
  lift();
  paint(false);
  const small = document.createElement("canvas");
  Object.assign(small, size);
  const smaller = /** @type {CanvasRenderingContext2D} */ (small.getContext("2d"));
  smaller.imageSmoothingQuality = "high";
  smaller.drawImage(canvas, 0, 0, size.width, size.height);
  done({ picture: await pictureOfCanvas(small, "a drawing"), strokes });
  dialog.close();
});
dialog.querySelector("[data-close]")?.addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => {
  current = null;
  done(null); // after "done" this is nothing more
});
