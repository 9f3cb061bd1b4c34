// What two texts have apart: the words that only one of them has.

const WORD = /[\p{L}\p{N}]+(?:['’.,-][\p{L}\p{N}]+)*/gu;
/** With fewer words in common than this share, all is different and no mark helps. */
const LEAST_SHARED = 0.25;

/** A piece of a text, and whether its word is in this text only. @typedef {{text: string, isOnly: boolean}} Piece */

/** Return a text in pieces: the words that the other text lacks, and all between them. @param {string} text @param {string} other @returns {Piece[]} */
export function apart(text, other) {
  const theirs = new Set(wordsOf(other));
  const mine = wordsOf(text);
  const shared = mine.filter((one) => theirs.has(one)).length;
  if (!theirs.size || shared < LEAST_SHARED * mine.length) return [{ text, isOnly: false }];
  const pieces = /** @type {Piece[]} */ ([]);
  let from = 0;
  for (const { 0: word, index } of text.matchAll(WORD)) {
    if (theirs.has(word.toLowerCase())) continue;
    if (index > from) pieces.push({ text: text.slice(from, index), isOnly: false });
    pieces.push({ text: word, isOnly: true });
    from = index + word.length;
  }
  if (from < text.length) pieces.push({ text: text.slice(from), isOnly: false });
  return pieces;
}

/** @param {string} text */
function wordsOf(text) {
  return Array.from(text.matchAll(WORD), ([word]) => word.toLowerCase());
}

/**
 * Return the nearest reference of each label, the label that is proposed first, then by likeness.
 * @param {any[]} witnesses as the API's `why` tells them, the nearest first @param {string | null} proposed @returns {any[]}
 */
export function nearestOfEach(witnesses, proposed) {
  const first = new Map();
  for (const one of witnesses) if (!first.has(one.match.label)) first.set(one.match.label, one);
  const isProposed = (/** @type {any} */ one) => Number(one.match.label === proposed);
  return [...first.values()].sort((a, b) => isProposed(b) - isProposed(a) || b.match.similarity - a.match.similarity);
}
