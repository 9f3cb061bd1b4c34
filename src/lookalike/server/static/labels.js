// Finding a label by some of its letters.

/**
 * Return the labels that have the letters of `typed` in their order, the best first.
 * What begins with it comes before what has a word that does, then what has it inside, then letters
 * apart; among equals the order given stays.
 * @param {string} typed @param {string[]} labels
 */
export function matching(typed, labels) {
  const wanted = fold(typed.trim());
  if (!wanted) return labels;
  return labels
    .map((label, place) => ({ label, place, rank: rank(wanted, fold(label)) }))
    .filter((one) => one.rank < Infinity)
    .sort((a, b) => a.rank - b.rank || a.place - b.place)
    .map((one) => one.label);
}

/** Return a label as it is kept: parts of a path apart by " > ". @param {string} typed */
export function tidy(typed) {
  return typed.split(">").map((part) => part.trim().replace(/\s+/g, " ")).filter(Boolean).join(" > ");
}

/** @param {string} text */
function fold(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

/** @param {string} wanted @param {string} label */
function rank(wanted, label) {
  if (label === wanted) return 0;
  if (label.split(" > ").at(-1) === wanted) return 1;
  if (label.startsWith(wanted)) return 2;
  const at = label.indexOf(wanted);
  if (at > 0 && !/[\p{L}\p{N}]/u.test(label[at - 1])) return 3;
  if (at > 0) return 4;
  let place = -1;
  for (const letter of wanted.replace(/\s/g, "")) {
    place = label.indexOf(letter, place + 1);
    if (place < 0) return Infinity;
  }
  return 5 + place / 1000;
}
