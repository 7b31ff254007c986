// How well the model does at the length of what was typed: BLEU by the words of a test sentence, from the model's card.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 30;
const WIDTH = 120;
const TESTED_SHARE = 0.01; // fewer test sentences of a length than this say nothing of it

function name(part) {
  return part.maximum === null ? `${part.minimum} words and more` : `${part.minimum} to ${part.maximum} words`;
}

export class Meter {
  #page;
  #lengths = [];
  #sentences = [];

  /** `page` has the elements. */
  constructor(page) {
    this.#page = page;
  }

  /** `lengths` are the card's parts: minimum, maximum, sentences, bleu. */
  setLengths(lengths) {
    this.#lengths = lengths;
    const most = Math.max(...lengths.map((part) => part.bleu), 1);
    const step = WIDTH / lengths.length;
    this.#page.bars.replaceChildren(
      ...lengths.map((part, index) => {
        const bar = document.createElementNS(SVG, "rect");
        const height = Math.max(2, (HEIGHT * part.bleu) / most);
        const place = { x: index * step + 1, y: HEIGHT - height, width: step - 2, height, rx: 2 };
        Object.entries(place).forEach(([key, value]) => bar.setAttribute(key, value));
        return bar;
      }),
    );
    this.show(this.#sentences);
  }

  /** `sentences` are those of the text, as the server has divided it. */
  show(sentences) {
    this.#sentences = sentences;
    const words = Math.max(0, ...sentences.map((sentence) => sentence.split(/\s+/).filter(Boolean).length));
    this.#page.meter.hidden = this.#lengths.length === 0 || words === 0;
    if (this.#page.meter.hidden) {
      return;
    }
    const index = this.#lengths.findIndex((part) => words >= part.minimum && (part.maximum === null || words <= part.maximum));
    const part = this.#lengths[index];
    const all = this.#lengths.reduce((sum, one) => sum + one.sentences, 0);
    const tested = part !== undefined && part.sentences >= TESTED_SHARE * all;
    [...this.#page.bars.children].forEach((bar, position) => bar.classList.toggle("here", position === index));
    this.#page.meter.classList.toggle("untested", !tested);
    const longest = sentences.length > 1 ? "The longest sentence has" : "The sentence has";
    const sentence = `${longest} ${words} ${words === 1 ? "word" : "words"}; `;
    const tests = part === undefined || part.sentences === 0
      ? "the model was never tested on one so long."
      : `at ${name(part)} the model had BLEU ${part.bleu.toFixed(1)} (${part.sentences.toLocaleString("en")} test sentences).`;
    this.#page.text.textContent = sentence + tests;
  }
}
