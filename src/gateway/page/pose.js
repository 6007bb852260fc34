// The pose editor: joints that are dragged, or moved by the arrow keys.
import { button, byId, showProblem } from "./element.js";
import { COLORS, dimmed, drawPeople, fromJson, JOINTS, LIMBS, mirrored, standing, toJson } from "./skeleton.js";

const SVG = "http://www.w3.org/2000/svg";
/** One press of an arrow key, in shares of the picture; with Shift, five. */
const STEP = 0.01;
/** The board's smaller side, in its own units: a joint is 1.9 of them. */
const SIDE = 100;

/** @typedef {import("./skeleton.js").Person} Person */
/** @typedef {{people: Person[], width: number, height: number, json: object}} Pose `json` is what a request may say for it */

const board = byId("pose-board", SVGSVGElement);
const dialog = byId("pose-dialog", HTMLDialogElement);
const json = byId("pose-json", HTMLTextAreaElement);
/** @type {Pose} */
let pose = { people: [], width: 1, height: 1, json: {} };
/** @type {(value: Pose | null) => void} */
let done = () => {};

/**
 * Lets somebody be posed.
 * @param {Person[] | null} people from an earlier time
 * @param {number} width of the picture to come, in pixels
 * @param {number} height
 * @returns {Promise<Pose | null>} null when it is given up
 */
export function editPose(people, width, height) {
  pose = { people: structuredClone(people ?? [standing(0.5, width / height)]), width, height, json: {} };
  const unit = SIDE / Math.min(width, height);
  board.setAttribute("viewBox", `0 0 ${width * unit} ${height * unit}`);
  dialog.style.setProperty("--ratio", String(width / height));
  draw();
  dialog.showModal();
  return new Promise((resolve) => {
    done = resolve;
  });
}

/** The picture of a pose. @param {Pose} of */
export const pictureOfPose = ({ people, width, height }) => drawPeople(people, width, height);

const size = () => board.viewBox.baseVal;

function draw() {
  const { width, height } = size();
  board.replaceChildren(
    ...pose.people.flatMap((person) =>
      LIMBS.map(([from, to], i) => {
        const [a, b] = [person[from], person[to]];
        const line = document.createElementNS(SVG, "line");
        line.setAttribute("stroke", dimmed(COLORS[i] ?? ""));
        line.setAttribute("stroke-width", "1.9");
        if (a === undefined || b === undefined || !a.seen || !b.seen) line.setAttribute("visibility", "hidden");
        else place(line, { x1: a.x * width, y1: a.y * height, x2: b.x * width, y2: b.y * height });
        return line;
      }),
    ),
    ...pose.people.flatMap((person, p) => person.map((_, j) => jointOf(p, j))),
  );
  if (document.activeElement !== json) json.value = JSON.stringify(toJson(pose.people, pose.width, pose.height));
}

/** @param {Element} element @param {Record<string, number>} numbers */
function place(element, numbers) {
  for (const [name, value] of Object.entries(numbers)) element.setAttribute(name, value.toFixed(2));
}

/** @param {number} p which person @param {number} j which joint */
function jointOf(p, j) {
  const joint = /** @type {import("./skeleton.js").Joint} */ (pose.people[p]?.[j]);
  const { width, height } = size();
  const circle = document.createElementNS(SVG, "circle");
  place(circle, { cx: joint.x * width, cy: joint.y * height, r: 1.9 });
  circle.setAttribute("fill", COLORS[j] ?? "");
  circle.setAttribute("tabindex", "0");
  circle.setAttribute("role", "button");
  circle.id = `joint-${p}-${j}`;
  circle.classList.toggle("away", !joint.seen);
  const whose = pose.people.length > 1 ? ` of person ${p + 1}` : "";
  const where = `${Math.round(joint.x * 100)} % across, ${Math.round(joint.y * 100)} % down`;
  circle.setAttribute("aria-label", `${JOINTS[j]}${whose}, ${joint.seen ? where : "hidden"}`);
  return circle;
}

/** Changes a joint and draws anew; the keyboard stays on it. @param {string} id @param {(joint: import("./skeleton.js").Joint) => void} change */
function change(id, change) {
  const [, p, j] = id.split("-").map(Number);
  const joint = pose.people[p ?? -1]?.[j ?? -1];
  if (joint === undefined) return;
  change(joint);
  joint.x = Math.min(1, Math.max(0, joint.x));
  joint.y = Math.min(1, Math.max(0, joint.y));
  const focused = document.activeElement?.id === id;
  draw();
  if (focused) document.getElementById(id)?.focus();
}

let dragged = "";
board.addEventListener("pointerdown", (event) => {
  const nearest = nearestJoint(event);
  if (nearest === null) return;
  event.preventDefault();
  dragged = nearest;
  board.setPointerCapture(event.pointerId);
  document.getElementById(nearest)?.focus({ preventScroll: true });
  change(nearest, (joint) => Object.assign(joint, { seen: true }));
});
board.addEventListener("pointermove", (event) => {
  if (dragged === "") return;
  const { left, top, width, height } = board.getBoundingClientRect();
  const at = { x: (event.clientX - left) / width, y: (event.clientY - top) / height };
  change(dragged, (joint) => Object.assign(joint, at));
});
for (const end of ["pointerup", "pointercancel"]) {
  board.addEventListener(end, () => {
    dragged = "";
  });
}

/** A finger is larger than a joint: the nearest one within 24 CSS pixels. @param {PointerEvent} event */
function nearestJoint({ clientX, clientY }) {
  let found = null;
  let least = 24;
  for (const circle of board.querySelectorAll("circle")) {
    const { left, top, width, height } = circle.getBoundingClientRect();
    const distance = Math.hypot(left + width / 2 - clientX, top + height / 2 - clientY);
    if (distance < least) [found, least] = [circle.id, distance];
  }
  return found;
}

const MOVES = /** @type {Record<string, [number, number]>} */ ({
  ArrowLeft: [-STEP, 0],
  ArrowRight: [STEP, 0],
  ArrowUp: [0, -STEP],
  ArrowDown: [0, STEP],
});
board.addEventListener("keydown", (event) => {
  const { id } = /** @type {Element} */ (event.target);
  const move = MOVES[event.key];
  const times = event.shiftKey ? 5 : 1;
  if (move) change(id, (joint) => Object.assign(joint, { x: joint.x + move[0] * times, y: joint.y + move[1] * times }));
  else if (["Delete", "Backspace", "Enter", " "].includes(event.key)) {
    change(id, (joint) => Object.assign(joint, { seen: !joint.seen }));
  } else return;
  event.preventDefault();
});

/** @param {string} id @param {() => void} act */
const onClick = (id, act) =>
  button(id).addEventListener("click", () => {
    act();
    draw();
  });
const aspect = () => pose.width / pose.height;
onClick("add-person", () =>
  pose.people.push(standing([0.75, 0.25, 0.5][(pose.people.length - 1) % 3] ?? 0.5, aspect())),
);
onClick("remove-person", () => pose.people.length > 1 && pose.people.pop());
onClick("mirror", () => {
  pose.people = pose.people.map(mirrored);
});
onClick("stand", () => {
  pose.people = [standing(0.5, aspect())];
});
button("pose-done").addEventListener("click", () => {
  done({ ...pose, json: toJson(pose.people, pose.width, pose.height) });
  dialog.close();
});
dialog.querySelector("[data-close]")?.addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => done(null)); // after "done" this is nothing more
json.addEventListener("input", () => {
  const problem = byId("pose-problem");
  try {
    pose.people = fromJson(json.value);
    showProblem(problem, null);
    draw();
  } catch (error) {
    showProblem(problem, error);
  }
});
