// The points of a map: typed arrays as the server packs them, and what can be asked of them. Pure.

/** What a label is that is none, and one beyond those listed. */
export const NO_LABEL = 255;
export const OTHER_LABEL = 254;
export const NO_SCORE = 255;
export const MOST_SCORE = 254;
export const STATES = ["null", "given", "auto", "disputed"];
export const SIDE = 65536;

const CELLS = 128;
const CELL_BITS = 9;
const FINE = 256;
const FINE_BITS = 8;
const MASK = 1024;
const FEW = 20_000;

/**
 * Points (n): `x` and `y` on a square of SIDE, `label` a place in `labels`, `state` one in STATES.
 * @typedef {{count: number, x: Uint16Array, y: Uint16Array, label: Uint8Array, state: Uint8Array, score: Uint8Array,
 *   labels: {name: string, count: number}[], snapshot: string, outgrown: boolean}} Points
 * @typedef {{x: number, y: number, size: number, rows: number[] | null, cells: Set<number>, label: number}} Group
 */

/** Read what the server sent. @param {ArrayBuffer} buffer @returns {Points} */
export function read(buffer) {
  const view = new DataView(buffer);
  const count = view.getUint32(0, true);
  let at = 4;
  const take = (/** @type {any} */ kind) => {
    const column = new kind(buffer, at, count);
    at += column.byteLength;
    return column;
  };
  const [x, y, label, state, score] = [Uint16Array, Uint16Array, Uint8Array, Uint8Array, Uint8Array].map(take);
  const text = new Uint8Array(buffer, at + 4, view.getUint32(at, true));
  const legend = JSON.parse(new TextDecoder().decode(text));
  const labels = legend.labels.map((/** @type {[string, number]} */ [name, many]) => ({ name, count: many }));
  return { count, x, y, label, state, score, labels, snapshot: legend.snapshot, outgrown: legend.outgrown };
}

/** Points by cells of a fine grid: those of cell c are rows[starts[c]] up to rows[starts[c + 1]]. */
export class Index {
  /** @param {Points} points */
  constructor({ count, x, y }) {
    this.starts = new Uint32Array(FINE * FINE + 1);
    for (let i = 0; i < count; i += 1) this.starts[cellOf(x[i], y[i], FINE_BITS, FINE) + 1] += 1;
    for (let c = 0; c < FINE * FINE; c += 1) this.starts[c + 1] += this.starts[c];
    const next = this.starts.slice(0, -1);
    this.rows = new Uint32Array(count);
    for (let i = 0; i < count; i += 1) this.rows[next[cellOf(x[i], y[i], FINE_BITS, FINE)]++] = i;
  }

  /**
   * Return the row that is nearest to a place, or -1 where none is within `reach`.
   * @param {Points} points @param {number} px @param {number} py @param {number} reach @param {(row: number) => boolean} isShown
   */
  nearest({ x, y }, px, py, reach, isShown) {
    let best = -1;
    let least = reach * reach;
    const [left, right] = [clampCell(px - reach), clampCell(px + reach)];
    const [top, bottom] = [clampCell(py - reach), clampCell(py + reach)];
    for (let row = top; row <= bottom; row += 1) {
      for (let column = left; column <= right; column += 1) {
        const cell = row * FINE + column;
        for (let at = this.starts[cell]; at < this.starts[cell + 1]; at += 1) {
          const i = this.rows[at];
          const far = (x[i] - px) ** 2 + (y[i] - py) ** 2;
          if (far <= least && isShown(i)) [best, least] = [i, far];
        }
      }
    }
    return best;
  }
}

/** @param {number} value */
function clampCell(value) {
  return Math.max(0, Math.min(FINE - 1, value >> FINE_BITS));
}

/** @param {number} x @param {number} y @param {number} bits @param {number} side */
function cellOf(x, y, bits, side) {
  return (y >> bits) * side + (x >> bits);
}

/**
 * Return the rows within a polygon (even-odd), by a mask of its surroundings: exact to a thousandth
 * of its size, and as quick for a long lasso as for a triangle.
 * @param {Points} points @param {[number, number][]} polygon @param {(row: number) => boolean} isShown
 */
export function within({ count, x, y }, polygon, isShown) {
  if (polygon.length < 3) return new Uint32Array(0);
  const [xs, ys] = [polygon.map((one) => one[0]), polygon.map((one) => one[1])];
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const [wide, high] = [Math.max(...xs) - left || 1, Math.max(...ys) - top || 1];
  const mask = filled(polygon.map(([px, py]) => [((px - left) / wide) * MASK, ((py - top) / high) * MASK]));
  const found = new Uint32Array(count);
  let many = 0;
  const [sx, sy] = [(MASK - 0.001) / wide, (MASK - 0.001) / high];
  for (let i = 0; i < count; i += 1) {
    const [dx, dy] = [x[i] - left, y[i] - top];
    if (dx < 0 || dy < 0 || dx > wide || dy > high) continue;
    if (mask[((dy * sy) | 0) * MASK + ((dx * sx) | 0)] && isShown(i)) found[many++] = i;
  }
  return found.slice(0, many);
}

/** Fill a polygon on a square of MASK. @param {number[][]} polygon */
function filled(polygon) {
  const mask = new Uint8Array(MASK * MASK);
  for (let row = 0; row < MASK; row += 1) {
    const level = row + 0.5;
    const crossings = [];
    for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i, i += 1) {
      const [[ax, ay], [bx, by]] = [polygon[j], polygon[i]];
      if (ay > level !== by > level) crossings.push(ax + ((level - ay) / (by - ay)) * (bx - ax));
    }
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) mask.fill(1, row * MASK + Math.ceil(crossings[i] - 0.5), row * MASK + Math.ceil(crossings[i + 1] - 0.5));
  }
  return mask;
}

/**
 * Return where most points of each label lie close together: [x, y], or null for a label without any.
 * @param {Points} points
 */
export function namePlaces({ count, x, y, label, labels }) {
  const side = 64;
  const many = new Uint32Array(labels.length * side * side);
  for (let i = 0; i < count; i += 1) if (label[i] < labels.length) many[label[i] * side * side + cellOf(x[i], y[i], 10, side)] += 1;
  return labels.map((_, code) => {
    const own = many.subarray(code * side * side, (code + 1) * side * side);
    let [best, most] = [-1, 0];
    for (let cell = 0; cell < own.length; cell += 1) {
      if (!own[cell]) continue;
      const sum = around(own, cell, side, (_, value) => value);
      if (sum > most) [best, most] = [cell, sum];
    }
    if (best < 0) return null;
    const mean = (/** @type {(cell: number) => number} */ of) => around(own, best, side, (cell, value) => value * (of(cell) + 0.5)) / most;
    return /** @type {[number, number]} */ ([mean((cell) => cell % side) * 1024, mean((cell) => (cell / side) | 0) * 1024]);
  });
}

/** Sum over a cell and its eight neighbours. @param {Uint32Array | Float32Array} cells @param {number} cell @param {number} side @param {(cell: number, value: number) => number} of */
function around(cells, cell, side, of) {
  const [row, column] = [(cell / side) | 0, cell % side];
  let sum = 0;
  for (let r = Math.max(0, row - 1); r <= Math.min(side - 1, row + 1); r += 1) {
    for (let c = Math.max(0, column - 1); c <= Math.min(side - 1, column + 1); c += 1) sum += of(r * side + c, cells[r * side + c]);
  }
  return sum;
}

/**
 * Return the groups of points that are shown, the largest first: hills of their density, each cell
 * going with the highest of its neighbours. `label` is the commonest label in it.
 * @param {Points} points @param {(row: number) => boolean} isShown
 */
export function groups(points, isShown) {
  const { count, x, y, label } = points;
  const many = new Float32Array(CELLS * CELLS);
  for (let i = 0; i < count; i += 1) if (isShown(i)) many[cellOf(x[i], y[i], CELL_BITS, CELLS)] += 1;
  let height = many;
  for (let times = count < FEW ? 6 : 3; times > 0; times -= 1) height = blurred(height);
  const peak = new Int32Array(CELLS * CELLS).fill(-1);
  const climb = (/** @type {number} */ from) => {
    const path = [];
    let cell = from;
    while (peak[cell] < 0) {
      path.push(cell);
      const above = highest(height, cell);
      if (above === cell) peak[cell] = cell;
      else cell = above;
    }
    for (const one of path) peak[one] = peak[cell];
    return peak[cell];
  };
  /** @type {Map<number, {cells: Set<number>, x: number, y: number, size: number}>} */
  const found = new Map();
  for (let cell = 0; cell < many.length; cell += 1) {
    if (!many[cell]) continue;
    const top = climb(cell);
    const group = found.get(top) ?? { cells: new Set(), x: 0, y: 0, size: 0 };
    group.cells.add(cell);
    group.x += many[cell] * ((cell % CELLS) + 0.5);
    group.y += many[cell] * (((cell / CELLS) | 0) + 0.5);
    group.size += many[cell];
    found.set(top, group);
  }
  const unit = SIDE / CELLS;
  const listed = [...found.values()].sort((a, b) => b.size - a.size);
  const owner = new Int32Array(CELLS * CELLS).fill(-1);
  listed.forEach((group, place) => group.cells.forEach((cell) => (owner[cell] = place)));
  const votes = listed.map(() => new Map());
  for (let i = 0; i < count; i += 1) {
    const place = owner[cellOf(x[i], y[i], CELL_BITS, CELLS)];
    if (place >= 0 && isShown(i)) votes[place].set(label[i], (votes[place].get(label[i]) ?? 0) + 1);
  }
  return listed.map((group, place) => ({
    x: (group.x / group.size) * unit, y: (group.y / group.size) * unit, size: group.size, cells: group.cells, rows: null,
    label: [...votes[place]].sort((a, b) => b[1] - a[1])[0][0],
  }));
}

/** Return the rows of a group. @param {Points} points @param {Group} group @param {(row: number) => boolean} isShown */
export function rowsOf({ count, x, y }, group, isShown) {
  const rows = [];
  for (let i = 0; i < count; i += 1) if (group.cells.has(cellOf(x[i], y[i], CELL_BITS, CELLS)) && isShown(i)) rows.push(i);
  return Uint32Array.from(rows);
}

/** Return the box of a group's cells: left, top, right, bottom. @param {Group} group @returns {[number, number, number, number]} */
export function boxOf(group) {
  const unit = SIDE / CELLS;
  let [left, top, right, bottom] = [CELLS, CELLS, 0, 0];
  for (const cell of group.cells) {
    const [row, column] = [(cell / CELLS) | 0, cell % CELLS];
    left = Math.min(left, column);
    right = Math.max(right, column + 1);
    top = Math.min(top, row);
    bottom = Math.max(bottom, row + 1);
  }
  return [left * unit, top * unit, right * unit, bottom * unit];
}

/** @param {Float32Array} cells */
function blurred(cells) {
  const soft = new Float32Array(cells.length);
  for (let cell = 0; cell < cells.length; cell += 1) soft[cell] = around(cells, cell, CELLS, (_, value) => value) / 9;
  return soft;
}

/** @param {Float32Array} height @param {number} cell */
function highest(height, cell) {
  const [row, column] = [(cell / CELLS) | 0, cell % CELLS];
  let best = cell;
  for (let r = Math.max(0, row - 1); r <= Math.min(CELLS - 1, row + 1); r += 1) {
    for (let c = Math.max(0, column - 1); c <= Math.min(CELLS - 1, column + 1); c += 1) if (height[r * CELLS + c] > height[best]) best = r * CELLS + c;
  }
  return best;
}

/** Count the values of all or of some rows, the commonest first. @param {Uint8Array} column @param {Uint32Array} [rows] @returns {[number, number][]} */
export function counted(column, rows) {
  const many = new Uint32Array(256);
  if (rows) for (const row of rows) many[column[row]] += 1;
  else for (let i = 0; i < column.length; i += 1) many[column[i]] += 1;
  return [...many].map((count, value) => /** @type {[number, number]} */ ([value, count])).filter((one) => one[1]).sort((a, b) => b[1] - a[1]);
}
