// What the page says of the model: for another pair of languages it comes from the page that the server makes for that pair.

const PARTS = ["model", "examples", "card", "footer", "pages"];
const OF_ONE_MODEL = ["model", "examples", "card"];

export class ModelParts {
  #data;
  #changed;
  #shown;
  #fetching = null;

  /** `data` is a data set whose `source` and `target` name the pair; `changed` is called when its parts are others. */
  constructor(data, changed) {
    this.#data = data;
    this.#changed = changed;
    this.#shown = `${data.source} ${data.target}`;
  }

  /** Leave the parts out of sight: no one model translates what comes, or it is not known which. */
  hide() {
    this.#fetching?.abort();
    this.#fetching = null;
    this.#shown = null;
    for (const id of OF_ONE_MODEL) {
      document.getElementById(id).classList.add("out-of-sight"); // where it was, so that nothing moves
    }
    this.#data.lengths = "[]";
    this.#changed();
  }

  /** `named` is whether a person has chosen the source: then the page has the address of the pair. */
  async show(source, target, named) {
    const pair = `${source} ${target}`;
    if (this.#shown === pair) {
      return;
    }
    this.hide();
    const controller = new AbortController();
    this.#fetching = controller;
    this.#shown = pair;
    const address = new URL(location);
    Object.entries({ source, target }).forEach(([name, value]) => address.searchParams.set(name, value));
    const page = await fetched(address, controller.signal);
    if (controller !== this.#fetching) {
      return; // another pair was chosen meanwhile
    }
    this.#fetching = null;
    const data = page?.getElementById("translator")?.dataset;
    if (data?.source !== source || data.target !== target) {
      this.#shown = null; // the next translation tries again
      return;
    }
    for (const id of PARTS) {
      replace(document.getElementById(id), page.getElementById(id));
    }
    Object.assign(this.#data, data);
    if (named) {
      document.title = page.title;
      window.history.replaceState(null, "", address);
    }
    this.#changed();
  }
}

/** The page at an address; null where there is none, or nobody wants it any more. */
async function fetched(address, signal) {
  try {
    const response = await fetch(address, { signal });
    return response.ok ? new DOMParser().parseFromString(await response.text(), "text/html") : null;
  } catch {
    return null;
  }
}

/** Put what is new in the place of what was there; who was at one of its links or buttons is at the one in its place. */
function replace(before, part) {
  const reachable = (where) => [...where.querySelectorAll("a, button, summary, [tabindex]")];
  const position = reachable(before).indexOf(document.activeElement);
  part.open = before.open;
  before.replaceWith(part);
  reachable(part)[position]?.focus();
}
