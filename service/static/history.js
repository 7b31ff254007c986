// What was translated, in this browser's storage and nowhere else.

const KEY = "history";
const MOST = 50;

function read() {
  try {
    const entries = JSON.parse(localStorage.getItem(KEY));
    return Array.isArray(entries) ? entries : [];
  } catch {
    return []; // nothing yet, or storage is switched off
  }
}

function write(entries) {
  try {
    localStorage.setItem(KEY, JSON.stringify(entries.slice(0, MOST)));
  } catch {
    // full, or switched off: then there is no history
  }
}

/** Whether one text is the other while it was being typed. */
function continues(entry, other) {
  const same = entry.from === other.from && entry.into === other.into;
  return same && (entry.text.startsWith(other.text) || other.text.startsWith(entry.text));
}

export class History {
  #page;
  #open;

  /** `page` has the elements; `open(entry)` shows an entry again. */
  constructor(page, open) {
    this.#page = page;
    this.#open = open;
    page.clear.addEventListener("click", () => {
      write([]);
      this.show();
      page.box.querySelector("summary").focus();
    });
    this.show();
  }

  /** Keep { from, into, text, translation }; an entry that it continues gives way to it. */
  add(entry) {
    const entries = read();
    if (entries.length && continues(entry, entries[0])) {
      entries.shift();
    }
    write([entry, ...entries.filter((other) => other.text !== entry.text || other.into !== entry.into)]);
    this.show();
  }

  show() {
    const entries = read();
    this.#page.count.textContent = entries.length ? `(${entries.length})` : "";
    this.#page.clear.hidden = entries.length === 0;
    this.#page.list.replaceChildren(...entries.map((entry) => this.#item(entry)));
  }

  #item(entry) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    for (const [text, language] of [[entry.text, entry.from], [entry.translation, entry.into]]) {
      const line = Object.assign(document.createElement("span"), { textContent: text, dir: "auto" });
      if (language !== "auto") {
        line.lang = language;
      }
      button.append(line);
    }
    button.addEventListener("click", () => this.#open(entry));
    item.append(button);
    return item;
  }
}
