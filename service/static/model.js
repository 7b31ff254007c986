// What the page says of the model: for another pair of languages it comes from the page that the server makes for that pair.

const PARTS = ["model", "examples", "card"];

export class ModelParts {
  #data;
  #tell;
  #wanted;

  /** `data` is the data set that says whose parts are shown; `tell` is called when those of another model are there. */
  constructor(data, tell) {
    this.#data = data;
    this.#tell = tell;
    this.#wanted = this.#shown;
  }

  get #shown() {
    return `${this.#data.cardSource} ${this.#data.cardTarget}`;
  }

  /** Of a pair that is translated by way of a third language there is no one model, and nothing is said. */
  async show(source, target) {
    const pair = `${source} ${target}`;
    if (this.#wanted === pair) {
      return;
    }
    this.#wanted = pair;
    const address = `?${new URLSearchParams({ source, target })}`;
    try {
      const response = await fetch(address);
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const { cardSource, cardTarget, lengths } = page.getElementById("translator").dataset;
      if (this.#wanted !== pair) {
        return; // another one was chosen meanwhile
      }
      const isIts = cardSource === source && cardTarget === target;
      for (const id of PARTS) {
        const [before, part] = [document.getElementById(id), page.getElementById(id)];
        part.hidden ||= !isIts;
        part.open = before.open;
        before.replaceWith(part);
      }
      Object.assign(this.#data, { cardSource: source, cardTarget: target, lengths: isIts ? lengths : "[]" });
      document.title = page.title;
      window.history.replaceState(null, "", address);
      this.#tell();
    } catch {
      this.#wanted = this.#shown; // the server is not there; whatever is translated next will say so
    }
  }
}
