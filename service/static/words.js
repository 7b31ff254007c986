// A translation with the words marked that the model was not sure of.

const UNSURE = 0.5; // less than an even chance
const VERY_UNSURE = 0.25;

/** The pieces of the server's answer as words: [white space, word, probability]; null where the model wrote none of it. */
function words(pieces) {
  const found = [];
  for (const { text, probability } of pieces) {
    for (const [part, space, letters] of text.matchAll(/(\s*)(\S*)/g)) {
      if (part === "") {
        continue;
      }
      const last = found.at(-1);
      if (space === "" && last !== undefined) {
        last[1] += letters;
        last[2] = last[2] === null || probability === null ? null : last[2] * probability;
      } else {
        found.push([space, letters, probability]);
      }
    }
  }
  return found;
}

/** Nodes whose text is that of the pieces, and how many words are marked. A word is as sure as all its pieces together. */
export function marked(pieces) {
  let count = 0;
  const nodes = words(pieces).flatMap(([space, word, probability]) => {
    if (word === "" || probability === null || probability >= UNSURE) {
      return [space + word];
    }
    count += 1;
    const mark = document.createElement("span");
    mark.className = probability < VERY_UNSURE ? "very-unsure" : "unsure";
    mark.textContent = word;
    mark.title = `${Math.round(100 * probability)} % sure`;
    return [space, mark];
  });
  return [nodes, count];
}
