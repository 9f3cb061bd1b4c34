// Which places of a list are selected, however long it is: as ranges, or as all but some.

/** The first and the last place of a range. @typedef {[number, number]} Part */

/** Places that are selected; each change is a new one. */
export class Selection {
  /** @param {Part[]} parts in order, apart from each other @param {boolean} isAll whether all is selected but the parts */
  constructor(parts = [], isAll = false) {
    this.parts = parts;
    this.isAll = isAll;
  }

  /** @param {number} place */
  has(place) {
    let [low, high] = [0, this.parts.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.parts[middle][1] < place) low = middle + 1;
      else high = middle;
    }
    const isThere = low < this.parts.length && this.parts[low][0] <= place;
    return isThere !== this.isAll;
  }

  /** How many are selected of a list of so many. @param {number} count */
  size(count) {
    const named = this.parts.reduce((sum, [first, last]) => sum + last - first + 1, 0);
    return this.isAll ? count - named : named;
  }

  /** @param {Part[]} parts in order @returns {Selection} */
  with(parts) {
    return new Selection(this.isAll ? without(this.parts, parts) : joined(this.parts, parts), this.isAll);
  }

  /** @param {Part[]} parts in order @returns {Selection} */
  without(parts) {
    return new Selection(this.isAll ? joined(this.parts, parts) : without(this.parts, parts), this.isAll);
  }

  /** @param {number} place */
  toggled(place) {
    return this.has(place) ? this.without([[place, place]]) : this.with([[place, place]]);
  }
}

/** Return the places of parts, one by one. @param {Part[]} parts */
export function* placesOf(parts) {
  for (const [first, last] of parts) for (let place = first; place <= last; place += 1) yield place;
}

/**
 * Return what a rectangle in a grid of square tiles spans; sides are in px from where the first tile begins.
 * @param {{left: number, right: number, top: number, bottom: number}} box
 * @param {{columns: number, row: number, gap: number, count: number}} grid `row` is a tile with its gap
 * @returns {Part[]}
 */
export function spanned({ left, right, top, bottom }, { columns, row, gap, count }) {
  const from = (/** @type {number} */ side) => Math.max(0, Math.ceil((side - row + gap) / row));
  const [first, last] = [from(left), Math.min(columns - 1, Math.floor(right / row))];
  const rows = [from(top), Math.min(Math.ceil(count / columns) - 1, Math.floor(bottom / row))];
  if (first > last || rows[0] > rows[1]) return [];
  if (first === 0 && last === columns - 1) return [[rows[0] * columns, Math.min((rows[1] + 1) * columns, count) - 1]];
  const parts = /** @type {Part[]} */ ([]);
  for (let one = rows[0]; one <= rows[1]; one += 1) {
    const start = one * columns + first;
    if (start < count) parts.push([start, Math.min(one * columns + last, count - 1)]);
  }
  return parts;
}

/** @param {Part[]} some @param {Part[]} others @returns {Part[]} */
function joined(some, others) {
  const all = [...some, ...others].sort((a, b) => a[0] - b[0]);
  const found = /** @type {Part[]} */ ([]);
  for (const [first, last] of all) {
    const before = found.at(-1);
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else found.push([first, last]);
  }
  return found;
}

/** @param {Part[]} some @param {Part[]} gone @returns {Part[]} */
function without(some, gone) {
  const found = /** @type {Part[]} */ ([]);
  let at = 0;
  for (const [first, last] of some) {
    let from = first;
    while (at < gone.length && gone[at][1] < from) at += 1;
    for (let next = at; next < gone.length && gone[next][0] <= last; next += 1) {
      if (gone[next][0] > from) found.push([from, gone[next][0] - 1]);
      from = Math.max(from, gone[next][1] + 1);
    }
    if (from <= last) found.push([from, last]);
  }
  return found;
}
