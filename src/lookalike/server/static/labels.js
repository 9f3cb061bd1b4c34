// Finding a label by some of its letters, and what Enter takes.

const MOST = 10;
/** Up to this rank a label is what was typed, or begins with it, as a whole or with a word. */
const BEGINS = 4;

/**
 * Return the labels that have the letters of `typed` in their order, the best first: what is called that, what begins
 * with it, what has a word that does, what has it inside a word, and letters apart; among equals the order given stays.
 * @param {string} typed @param {string[]} labels
 */
export function matching(typed, labels) {
  return ranked(typed, labels).map((one) => one.label);
}

/**
 * Return what typing offers, in its order: Enter takes the first. With `creates`, what was typed may become a new label. It
 * stands before all labels that only have those letters somewhere: nobody who types "Pear" means Spearmint.
 * @param {string} typed @param {string[]} labels @param {{creates?: boolean}} [how] @returns {{name: string, isNew: boolean}[]}
 */
export function offered(typed, labels, { creates = false } = {}) {
  const found = ranked(typed, labels);
  const name = tidy(typed);
  const fresh = creates && name && !labels.includes(name) ? [{ name, isNew: true }] : [];
  const near = found.filter((one) => one.rank <= BEGINS).slice(0, MOST);
  const far = found.filter((one) => one.rank > BEGINS).slice(0, MOST - near.length);
  const known = (/** @type {{label: string}[]} */ some) => some.map(({ label }) => ({ name: label, isNew: false }));
  return [...known(near), ...fresh, ...known(far)];
}

/** @param {string} typed @param {string[]} labels @returns {{label: string, rank: number}[]} */
function ranked(typed, labels) {
  const wanted = fold(tidy(typed) || typed.trim());
  if (!wanted) return labels.map((label) => ({ label, rank: 0 }));
  return labels
    .map((label, place) => ({ label, place, rank: rank(wanted, fold(label)) }))
    .filter((one) => one.rank < Infinity)
    .sort((a, b) => a.rank - b.rank || a.place - b.place);
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
  const leaf = label.split(" > ").at(-1) ?? "";
  if (label === wanted) return 0;
  if (leaf === wanted) return 1;
  if (label.startsWith(wanted)) return 2;
  if (leaf.startsWith(wanted)) return 3;
  if (wordsOf(label).some((place) => label.startsWith(wanted, place))) return BEGINS;
  if (label.includes(wanted)) return 5;
  let place = -1;
  for (const letter of wanted.replace(/\s/g, "")) {
    place = label.indexOf(letter, place + 1);
    if (place < 0) return Infinity;
  }
  return 6 + place / 1000;
}

/** Where words begin. @param {string} label */
function wordsOf(label) {
  return [...label.matchAll(/(?<![\p{L}\p{N}])[\p{L}\p{N}]/gu)].map((one) => one.index);
}
