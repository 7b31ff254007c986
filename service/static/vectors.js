// Sentences on a plane, as the server has projected their vectors.
import { inWords, post } from "./stream.js";

const SVG = "http://www.w3.org/2000/svg";
const SIZE = 400;
const MARGIN = 30;
const DEBOUNCE_MILLISECONDS = 600;
const LABEL_CHARACTERS = 30;
const LINE = 14; // from one label to the next
const GAP = 14; // between a point and its label

const element = (id) => document.getElementById(id);
const form = element("vectors");
const field = element("sentences");
const { endpoint, source, target } = form.dataset;
const limit = Number(form.dataset.limit);

let timer = 0;
let underWay = null;

function draw(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  made.append(...children);
  return made;
}

function tell(text) {
  element("problem").textContent = text;
  element("problem").hidden = text === "";
}

/** One scale for both directions, so that distances are true. */
function placed(coordinates) {
  const middle = [0, 1].map((axis) => {
    const values = coordinates.map((each) => each[axis]);
    return (Math.min(...values) + Math.max(...values)) / 2;
  });
  const reach = Math.max(...coordinates.flatMap((each) => each.map((value, axis) => Math.abs(value - middle[axis]))), 1e-9);
  const scale = (SIZE / 2 - MARGIN) / reach;
  return coordinates.map(([x, y]) => [SIZE / 2 + (x - middle[0]) * scale, SIZE / 2 - (y - middle[1]) * scale]);
}

function shortened(text) {
  const characters = [...text];
  return characters.length > LABEL_CHARACTERS ? `${characters.slice(0, LABEL_CHARACTERS - 1).join("")}…` : text;
}

/** Heights at least a line apart, in order, near those wanted, and within the picture. */
function spread(wanted) {
  const heights = [];
  for (const height of wanted) {
    heights.push(Math.max(height, (heights.at(-1) ?? -Infinity) + LINE));
  }
  let lowest = SIZE - 4;
  for (let index = heights.length - 1; index >= 0; index -= 1) {
    heights[index] = Math.min(heights[index], lowest);
    lowest = heights[index] - LINE;
  }
  return heights;
}

/** Labels stand beside their points; one that had to make way for another has a line to its point. */
function labels(points, texts) {
  return [true, false].flatMap((right) => {
    const own = points.map(([x, y], index) => ({ x, y, index })).filter(({ x }) => x > SIZE / 2 === right);
    own.sort((one, other) => one.y - other.y);
    const heights = spread(own.map(({ y }) => y + 4));
    return own.flatMap(({ x, y, index }, position) => {
      const height = heights[position];
      const side = right ? x - GAP : x + GAP;
      const anchor = right ? "end" : "start";
      const label = draw("text", { x: side, y: height, "text-anchor": anchor }, `${index + 1} ${shortened(texts[index])}`);
      const moved = Math.abs(height - 4 - y) > LINE / 2;
      return moved ? [draw("line", { x1: x, y1: y, x2: side, y2: height - 4, class: "leader" }), label] : [label];
    });
  });
}

function show(texts, answer) {
  const points = placed(answer.coordinates);
  element("plane").replaceChildren(
    draw("line", { x1: 0, y1: SIZE / 2, x2: SIZE, y2: SIZE / 2, class: "axis" }),
    draw("line", { x1: SIZE / 2, y1: 0, x2: SIZE / 2, y2: SIZE, class: "axis" }),
    ...points.map(([x, y], index) => draw("circle", { cx: x, cy: y, r: 4 }, draw("title", {}, texts[index]))),
    ...labels(points, texts),
  );
  element("places").replaceChildren(
    ...texts.map((text, index) => {
      const row = document.createElement("tr");
      const cells = [index + 1, text, ...answer.coordinates[index].map((value) => value.toFixed(3))];
      row.append(...cells.map((value) => Object.assign(document.createElement("td"), { textContent: value })));
      return row;
    }),
  );
  const share = answer.explained.reduce((sum, part) => sum + part, 0);
  element("explained").textContent = `The picture has ${Math.round(100 * share)} % of the variance.`;
}

async function update() {
  clearTimeout(timer);
  underWay?.abort();
  const texts = field.value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (texts.length === 0) {
    element("plane").replaceChildren();
    element("places").replaceChildren();
    element("explained").textContent = "";
    tell("");
    return;
  }
  if (texts.length > limit) {
    tell(`These are more than ${limit} sentences. Please take some away.`);
    return;
  }
  const controller = new AbortController();
  underWay = controller;
  try {
    const key = document.getElementById("key")?.value ?? "";
    const response = await post(endpoint, { q: texts, source, target }, { key, signal: controller.signal });
    const answer = await response.json();
    if (controller === underWay) {
      tell("");
      show(texts, answer);
    }
  } catch (error) {
    if (controller === underWay && error.name !== "AbortError") {
      tell(inWords(error));
    }
  }
}

field.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(update, DEBOUNCE_MILLISECONDS);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  update();
});
update();
