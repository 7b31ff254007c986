// The page on which a person types on the left and reads on the right.
import { translateFiles } from "./files.js";
import { History } from "./history.js";
import { Meter } from "./meter.js";
import { ModelParts } from "./model.js";
import { ServerError, inWords, post, translation } from "./stream.js";
import { marked } from "./words.js";

const DEBOUNCE_MILLISECONDS = 400;
const LONGEST_RETRY_SECONDS = 10;
const SETTLED_MILLISECONDS = 2000; // so long after the last key a translation goes into the history

const element = (id) => document.getElementById(id);
const form = element("translator");
const source = element("source");
const target = element("target");
const from = element("source-language");
const into = element("target-language");
const { endpoint, fileEndpoint, similarEndpoint } = form.dataset;
const languages = JSON.parse(form.dataset.languages);
const limit = Number(form.dataset.limit);
const alternativesWanted = Number(form.dataset.alternatives);

let timer = 0;
let settling = 0;
let underWay = null; // AbortController of the request whose answer is awaited
let shownFor = null; // the request whose translation stands on the right, as JSON

const meter = new Meter({ meter: element("meter"), bars: element("bars"), text: element("meter-text") });
const parts = new ModelParts(form.dataset, modelShown);
const history = new History(
  { box: element("history-box"), list: element("history"), clear: element("clear-history"), count: element("history-count") },
  ({ from: source_, into: target_, text }) => {
    choose(source_, target_);
    type(text);
    source.focus();
  },
);

function show(id, visible) {
  element(id).hidden = !visible;
}

function announce(text) {
  element("announcement").textContent = text;
}

function item(...children) {
  const listed = document.createElement("li");
  listed.append(...children);
  return listed;
}

function request(text) {
  return { q: text, source: from.value, target: into.value };
}

function key() {
  return document.getElementById("key")?.value ?? "";
}

// Languages

function nameOf(code) {
  return languages.flatMap((one) => [one, ...one.targets]).find((one) => one.code === code)?.name ?? code;
}

/** Offer the languages that the chosen one is translated into, and keep the one chosen if it is among them. */
function offerTargets() {
  const targets = from.value === "auto"
    ? [...new Map(languages.flatMap((one) => one.targets).map((one) => [one.code, one])).values()]
    : languages.find((one) => one.code === from.value).targets;
  const before = into.value || form.dataset.target;
  into.replaceChildren(...targets.map((one) => new Option(one.name, one.code)));
  into.value = targets.some((one) => one.code === before) ? before : targets[0].code;
  languageChosen();
}

function languageChosen() {
  const back = languages.find((one) => one.code === into.value);
  element("swap").disabled = from.value === "auto" || !back?.targets.some((one) => one.code === from.value);
  element("swap").title = element("swap").disabled ? "No model translates the other way round" : "Swap the languages";
  element("source-name").textContent = from.value === "auto" ? "Any language" : nameOf(from.value);
  element("target-name").textContent = nameOf(into.value);
  source.lang = from.value === "auto" ? "" : from.value;
  target.lang = into.value;
  element("alternatives").lang = into.value;
  element("detected").textContent = "";
  const possible = languages.filter((one) => one.targets.some((each) => each.code === into.value));
  if (from.value !== "auto" || possible.length === 1) {
    parts.show(from.value === "auto" ? possible[0].code : from.value, into.value, from.value !== "auto");
  } else {
    parts.hide();
  }
}

function modelShown() {
  meter.setLengths(JSON.parse(form.dataset.lengths));
  element("curl").dataset.text = document.querySelector("#examples:not([hidden], .out-of-sight) .example")?.textContent || "Hello.";
  refresh();
}

function choose(sourceLanguage, targetLanguage) {
  if ([...from.options].some((option) => option.value === sourceLanguage)) {
    from.value = sourceLanguage;
  }
  offerTargets();
  if ([...into.options].some((option) => option.value === targetLanguage)) {
    into.value = targetLanguage;
  }
  languageChosen();
}

// What is shown

function showProblem(text) {
  element("problem").textContent = text;
  show("problem", text !== "");
  target.hidden = text !== "";
  if (text) {
    showNothing();
  }
}

function showNothing() {
  shownFor = null;
  target.textContent = "";
  meter.show([]);
  for (const id of ["copy", "others", "notes", "seen", "shade-label"]) {
    show(id, false);
  }
}

function showScore(score) {
  return Object.assign(document.createElement("span"), {
    className: "score",
    textContent: score.toFixed(2).replace("-", "−"),
    title: "Score: log-probability over a length penalty; the nearer to 0, the likelier",
  });
}

function showAlternatives(answer) {
  const texts = answer.alternatives ?? [];
  const scores = answer.alternativeScores ?? [];
  element("alternatives").replaceChildren(
    ...texts.map((text, index) => {
      const said = Object.assign(document.createElement("span"), { textContent: text, dir: "auto" });
      return index in scores ? item(said, " ", showScore(scores[index])) : item(said);
    }),
  );
  show("others", texts.length > 0);
}

function showAnswer(text, answer) {
  shownFor = JSON.stringify(request(text));
  showProblem("");
  const [nodes, unsure] = marked(answer.probabilities ?? [{ text: answer.translatedText, probability: null }]);
  target.replaceChildren(...nodes);
  element("unsure-count").textContent = `(${unsure})`;
  show("shade-label", unsure > 0);
  show("copy", answer.translatedText.trim() !== "");
  showAlternatives(answer);
  // A warning is a code, a colon and a sentence.
  const notes = (answer.warnings ?? []).map((warning) => `Note: ${warning.replace(/^[a-z]+: */, "")}.`);
  element("notes").replaceChildren(...notes.map((note) => item(note)));
  show("notes", notes.length > 0);
  const guess = answer.detectedLanguage;
  element("detected").textContent = guess ? `${nameOf(guess.language)}, ${Math.round(guess.confidence)} % sure` : "";
  const language = guess?.language ?? from.value;
  if (language !== into.value) {
    parts.show(language, into.value, !guess);
  }
  announce(`Translation: ${answer.translatedText}`);
  clearTimeout(settling);
  const entry = { from: from.value, into: into.value, text, translation: answer.translatedText };
  settling = setTimeout(() => history.add(entry), SETTLED_MILLISECONDS);
}

/** The training pairs that are most like the text, if the model has them at hand. */
async function showSimilar(text, controller) {
  if (!similarEndpoint || from.value === "auto") {
    return;
  }
  try {
    const response = await post(similarEndpoint, request(text), { key: key(), signal: controller.signal });
    const { pairs } = await response.json();
    if (shownFor !== JSON.stringify(request(text))) {
      return;
    }
    element("similar").replaceChildren(
      ...pairs.map((pair) => {
        const lines = [[pair.source, from.value], [pair.target, into.value]].map(([line, lang]) =>
          Object.assign(document.createElement("span"), { textContent: line, lang, dir: "auto" }));
        const similarity = Object.assign(document.createElement("span"), {
          className: "score",
          textContent: `${Math.round(100 * pair.similarity)} % alike`,
        });
        return item(...lines, similarity);
      }),
    );
    show("seen", pairs.length > 0);
  } catch {
    // it is good to know, and no more
  }
}

/** Unicode characters, which is what the server counts, not UTF-16 units. */
function characters(text) {
  return [...text];
}

function refresh() {
  const count = characters(source.value).length;
  const counted = `${count.toLocaleString("en")} of ${limit.toLocaleString("en")} characters`;
  element("count").textContent = count > limit / 2 ? counted : "";
  show("clear", count > 0);
  const body = JSON.stringify(request(source.value.trim() || element("curl").dataset.text)).replaceAll("'", "'\\''");
  element("curl").textContent =
    `curl -X POST ${location.origin}${endpoint} -H 'Content-Type: application/json' -d '${body}'`;
}

// Translating

function wait(seconds, signal) {
  return new Promise((resolve, reject) => {
    const sleeping = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => {
      clearTimeout(sleeping);
      reject(signal.reason);
    });
  });
}

/** Translate and show what comes; resolves when all of it is there. */
async function follow(text, controller) {
  const fields = { ...request(text), alternatives: alternativesWanted, scores: true, probabilities: true, stream: "tokens" };
  const options = { key: key(), signal: controller.signal };
  let begun = null; // the sentences that are done
  const sentences = [];
  for await (const [name, data] of translation(endpoint, fields, options)) {
    if (controller !== underWay) {
      return;
    }
    if (name === "done") {
      showAnswer(text, data);
      meter.show(sentences);
      if (sentences.length === 1) {
        showSimilar(text, controller);
      }
    } else {
      if (begun === null) {
        showProblem("");
        showNothing();
        form.classList.add("coming");
        begun = "";
      }
      target.textContent = begun + data.separator + data.text;
      if (name === "sentence") {
        begun = target.textContent + data.rest;
        sentences.push(characters(text).slice(data.source.start, data.source.end).join(""));
        target.textContent = begun;
      }
    }
  }
}

async function attempt(text, controller) {
  for (;;) {
    try {
      return await follow(text, controller);
    } catch (error) {
      if (!(error instanceof ServerError) || ![429, 503].includes(error.status) || controller !== underWay) {
        throw error;
      }
      showProblem("Many are translating just now. Trying again…");
      await wait(Math.min(error.retryAfter, LONGEST_RETRY_SECONDS), controller.signal);
    }
  }
}

function busy(is) {
  form.classList.toggle("busy", is);
  form.classList.remove("coming");
  target.setAttribute("aria-busy", String(is));
}

async function translate() {
  clearTimeout(timer);
  const text = source.value;
  if (JSON.stringify(request(text)) === shownFor) {
    return;
  }
  underWay?.abort();
  underWay = null;
  clearTimeout(settling);
  if (text.trim() === "") {
    busy(false);
    showProblem("");
    showNothing();
    return;
  }
  if (characters(text).length > limit) {
    busy(false);
    showProblem(`This is more than ${limit.toLocaleString("en")} characters. Please translate it in parts.`);
    return;
  }
  const controller = new AbortController();
  underWay = controller;
  busy(true);
  try {
    await attempt(text, controller);
  } catch (error) {
    if (controller === underWay && error.name !== "AbortError") {
      showProblem(inWords(error));
    }
  } finally {
    if (controller === underWay) {
      underWay = null;
      busy(false);
    }
  }
}

function type(text) {
  source.value = text;
  refresh();
  translate();
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Not a secure context, or not allowed: the old way, by a selection.
    const field = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    button.focus();
  }
  button.textContent = "Copied";
  announce("Copied.");
  setTimeout(() => {
    button.textContent = "Copy";
    announce("");
  }, 1500);
}

// What a person does

source.addEventListener("input", () => {
  refresh();
  clearTimeout(timer);
  timer = setTimeout(translate, DEBOUNCE_MILLISECONDS);
});

source.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    translate();
  }
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  translate();
});

from.addEventListener("change", () => {
  offerTargets();
  type(source.value);
});

into.addEventListener("change", () => {
  languageChosen();
  type(source.value);
});

element("swap").addEventListener("click", () => {
  const translated = shownFor === null ? source.value : target.textContent;
  choose(into.value, from.value);
  type(translated);
});

element("clear").addEventListener("click", () => {
  type("");
  source.focus();
});

document.addEventListener("click", ({ target: clicked }) => {
  if (clicked.matches(".example")) {
    choose(form.dataset.source, form.dataset.target);
    type(clicked.textContent);
  } else if (clicked.matches('a[href="#card"]')) {
    element("card").open = true;
  }
});

translateFiles(
  {
    file: element("file"),
    send: element("send-file"),
    progress: element("file-progress"),
    state: element("file-state"),
    bar: element("file-bar"),
    result: element("file-result"),
  },
  fileEndpoint,
  () => ({ source: from.value, target: into.value, key: key() }),
);

element("shade").addEventListener("change", (event) => target.classList.toggle("unmarked", !event.currentTarget.checked));
element("copy").addEventListener("click", (event) => copy(target.textContent, event.currentTarget));
element("copy-curl").addEventListener("click", (event) => copy(element("curl").textContent, event.currentTarget));
target.dataset.empty = "The translation appears here";
offerTargets();
modelShown();
