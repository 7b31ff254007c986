"use strict";

const DEBOUNCE_MILLISECONDS = 400;
const LONGEST_RETRY_SECONDS = 10;

const element = (id) => document.getElementById(id);
const form = element("translator");
const source = element("source");
const target = element("target");
const { source: sourceLanguage, target: targetLanguage, endpoint } = form.dataset;
const limit = Number(form.dataset.limit);
const alternativesWanted = Number(form.dataset.alternatives);

let timer = 0;
let underWay = null; // AbortController of the request whose answer is awaited
let shownFor = null; // the text whose translation stands on the right

function show(id, visible) {
  element(id).hidden = !visible;
}

function announce(text) {
  element("announcement").textContent = text;
}

function request(text) {
  return { q: text, source: sourceLanguage, target: targetLanguage };
}

function showList(id, container, texts) {
  element(id).replaceChildren(
    ...texts.map((text) => Object.assign(document.createElement("li"), { textContent: text })),
  );
  show(container, texts.length > 0);
}

function showTranslation(text, answer) {
  shownFor = text;
  target.textContent = answer.translatedText;
  show("copy", answer.translatedText.trim() !== "");
  showList("alternatives", "others", answer.alternatives || []);
  // A warning is a code, a colon and a sentence.
  showList("notes", "notes", (answer.warnings || []).map((warning) => "Note: " + warning.replace(/^[a-z]+: */, "") + "."));
  showProblem("");
}

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
  show("copy", false);
  show("others", false);
  show("notes", false);
}

/** Count what the server counts: Unicode characters, not UTF-16 units. */
function length(text) {
  return [...text].length;
}

function refresh() {
  const characters = length(source.value);
  const counted = characters.toLocaleString("en") + " of " + limit.toLocaleString("en") + " characters";
  element("count").textContent = characters > limit / 2 ? counted : "";
  show("clear", characters > 0);
  const body = JSON.stringify(request(source.value.trim() || element("curl").dataset.text)).replaceAll("'", "'\\''");
  element("curl").textContent =
    `curl -X POST ${location.origin}${endpoint} -H 'Content-Type: application/json' -d '${body}'`;
}

function wait(seconds, signal) {
  return new Promise((resolve, reject) => {
    const sleeping = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => {
      clearTimeout(sleeping);
      reject(signal.reason);
    });
  });
}

async function ask(text, signal) {
  const response = await fetch(endpoint, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...request(text), alternatives: alternativesWanted }),
    signal,
  });
  if (response.status === 503 || response.status === 429) {
    showProblem("Many are translating just now. Trying again…");
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await wait(Math.min(seconds, LONGEST_RETRY_SECONDS), signal);
    return ask(text, signal);
  }
  const answer = await response.json();
  if (!response.ok) {
    throw new Error(answer.detail || "The server gave no reason.");
  }
  return answer;
}

async function translate() {
  clearTimeout(timer);
  const text = source.value;
  if (text === shownFor) {
    return;
  }
  underWay?.abort();
  if (text.trim() === "") {
    form.classList.remove("busy");
    showProblem("");
    showNothing();
    return;
  }
  if (length(text) > limit) {
    form.classList.remove("busy");
    showProblem(`This is more than ${limit.toLocaleString("en")} characters. Please translate it in parts.`);
    return;
  }
  const controller = new AbortController();
  underWay = controller;
  form.classList.add("busy");
  try {
    const answer = await ask(text, controller.signal);
    if (controller === underWay) {
      showTranslation(text, answer);
    }
  } catch (error) {
    if (controller === underWay && error.name !== "AbortError") {
      const unreachable = error instanceof TypeError || error instanceof SyntaxError;
      showProblem(unreachable ? "The server cannot be reached. Is it still running?" : error.message);
    }
  } finally {
    if (controller === underWay) {
      underWay = null;
      form.classList.remove("busy");
    }
  }
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

element("clear").addEventListener("click", () => {
  source.value = "";
  refresh();
  translate();
  source.focus();
});

for (const button of document.querySelectorAll(".example")) {
  button.addEventListener("click", () => {
    source.value = button.textContent;
    refresh();
    translate();
  });
}

element("copy").addEventListener("click", (event) => copy(target.textContent, event.currentTarget));
element("copy-curl").addEventListener("click", (event) => copy(element("curl").textContent, event.currentTarget));
element("curl").dataset.text = document.querySelector(".example")?.textContent || "Hello.";
target.dataset.empty = "The translation appears here";
refresh();
