// The points of the map, and how they become pixels.

import assert from "node:assert/strict";
import { test } from "node:test";
import { counted, groups, Index, namePlaces, NO_LABEL, read, rowsOf, within } from "../../src/lookalike/server/static/points.js";
import { draw, huesOf, inMemory, partsOf, SHAPES, stepOf, widthOf } from "../../src/lookalike/server/static/raster.js";

/** @param {number[][]} rows of x, y, label @param {string[]} names */
function pointsOf(rows, names) {
  const column = (/** @type {any} */ kind, /** @type {number} */ at) => kind.from(rows.map((one) => one[at] ?? 0));
  return {
    count: rows.length, x: column(Uint16Array, 0), y: column(Uint16Array, 1), label: column(Uint8Array, 2), state: column(Uint8Array, 3), score: column(Uint8Array, 4),
    labels: names.map((name) => ({ name, count: 0 })), snapshot: "s", outgrown: false,
  };
}

const all = () => true;

test("what the server packs is read as it is", () => {
  const legend = new TextEncoder().encode(JSON.stringify({ labels: [["Äpfel", 2]], snapshot: "abc", outgrown: true }));
  const buffer = new ArrayBuffer(4 + 2 * 7 + 4 + legend.length);
  const view = new DataView(buffer);
  view.setUint32(0, 2, true);
  [1, 65535, 2, 3].forEach((value, place) => view.setUint16(4 + 2 * place, value, true));
  new Uint8Array(buffer, 12, 6).set([0, 255, 1, 2, 254, 255]);
  view.setUint32(18, legend.length, true);
  new Uint8Array(buffer, 22).set(legend);

  const points = read(buffer);

  assert.deepEqual([...points.x, ...points.y], [1, 65535, 2, 3]);
  assert.deepEqual([...points.label, ...points.state, ...points.score], [0, 255, 1, 2, 254, 255]);
  assert.deepEqual(points.labels, [{ name: "Äpfel", count: 2 }]);
  assert.equal(points.outgrown, true);
});

test("a lasso holds what is inside, as a test of each point against each edge says", () => {
  let seed = 7;
  const chance = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const points = pointsOf(Array.from({ length: 4000 }, () => [chance() * 65535, chance() * 65535]), []);
  /** @type {[number, number][]} */
  const star = Array.from({ length: 14 }, (_, i) => [30000 + Math.cos(i * 0.9) * (i % 2 ? 9000 : 28000), 33000 + Math.sin(i * 0.9) * (i % 2 ? 9000 : 28000)]);
  const inside = (/** @type {number} */ x, /** @type {number} */ y) => {
    let isIn = false;
    star.forEach(([ax, ay], place) => {
      const [bx, by] = star[(place + 1) % star.length];
      if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) isIn = !isIn;
    });
    return isIn;
  };

  const rows = new Set(within(points, star, all));

  const wrong = Array.from({ length: 4000 }, (_, i) => i).filter((i) => rows.has(i) !== inside(points.x[i], points.y[i]));
  assert.ok(rows.size > 300);
  assert.ok(wrong.length < 20, `${wrong.length} of 4,000, all within a thousandth of an edge`);
  assert.equal(within(points, star, () => false).length, 0);
  assert.equal(within(points, [[0, 0], [1, 1]], all).length, 0);
});

test("the nearest point is found within reach only, and never one that is hidden", () => {
  const points = pointsOf([[100, 100], [140, 100], [60000, 60000]], []);
  const index = new Index(points);

  assert.equal(index.nearest(points, 125, 100, 50, all), 1);
  assert.equal(index.nearest(points, 125, 100, 50, (row) => row !== 1), 0);
  assert.equal(index.nearest(points, 30000, 30000, 500, all), -1);
  assert.equal(index.nearest(points, 65000, 65000, 8000, all), 2);
});

test("groups are hills of points, the largest first, with their commonest label", () => {
  const hill = (/** @type {number} */ at, /** @type {number} */ many, /** @type {number} */ label) =>
    Array.from({ length: many }, (_, i) => [at + (i % 20) * 90, at + ((i * 7) % 20) * 90, i % 5 ? label : NO_LABEL]);
  const points = pointsOf([...hill(10000, 60, 1), ...hill(50000, 200, 0)], ["a", "b"]);

  const found = groups(points, all);

  assert.deepEqual(found.map((one) => [one.size, one.label]), [[200, 0], [60, 1]]);
  assert.ok(Math.abs(found[0].x - 50900) < 600);
  assert.equal(rowsOf(points, found[1], all).length, 60);
  assert.equal(groups(points, (row) => points.label[row] === NO_LABEL)[0].size, 40);
  assert.deepEqual(groups(points, () => false), []);
});

test("a name stands where most points of its label are", () => {
  const close = Array.from({ length: 30 }, (_, i) => [20000 + i * 20, 30000 + i * 20, 0]);
  const points = pointsOf([...close, [60000, 100, 0], [5, 5, 1]], ["a", "b", "c"]);

  const [a, b, c] = namePlaces(points);

  assert.ok(a && Math.abs(a[0] - 20300) < 1100 && Math.abs(a[1] - 30300) < 1100);
  assert.deepEqual(b, [512, 512]);
  assert.equal(c, null);
});

test("labels that lie near each other have different hues, and keep them", () => {
  const places = /** @type {[number, number][]} */ (Array.from({ length: 16 }, (_, i) => [(i % 4) * 9000, (i >> 2) * 9000]));

  const hues = huesOf(places, 8);
  const again = huesOf([...places, [4000, 4000]], 8, hues);

  assert.equal(new Set(hues).size, 8);
  for (let i = 0; i < 15; i += 1) if (i % 4 < 3) assert.notEqual(hues[i], hues[i + 1]);
  assert.deepEqual(again.slice(0, 16), hues);
});

test("points are drawn where one looks, faint ones below, hidden ones not at all", () => {
  const points = pointsOf([[0, 0, 0], [0, 0, 1], [8192, 8192, 2], [65535, 65535, 0]], []);
  const look = { column: points.label, colours: Uint32Array.of(11, 12, 13), shapes: new Uint8Array(256), hidden: new Uint8Array(256), faint: new Uint8Array(256) };
  const view = { scale: 1 / 1024, left: 0, top: 0 };
  const drawn = (/** @type {number} */ upto, wide = 1) => {
    const pixels = new Uint32Array(16 * 16);
    draw(pixels, 16, 16, points, look, view, wide, upto);
    return pixels;
  };

  assert.equal(drawn(4)[0], 12);
  look.faint[1] = 1;
  assert.equal(drawn(4)[0], 11);
  assert.equal(drawn(4)[8 * 16 + 8], 13);
  assert.equal(drawn(2)[8 * 16 + 8], 0);
  look.hidden[2] = 1;
  assert.equal(drawn(4)[8 * 16 + 8], 0);
  look.hidden[2] = 0;
  look.shapes[2] = SHAPES.ring;
  const ring = drawn(4, 5);
  assert.equal(ring[8 * 16 + 8], 0);
  assert.equal(ring[8 * 16 + 6], 13);
});

test("colours lie in memory as red, green, blue, and scores in steps", () => {
  assert.deepEqual(partsOf("#e69f00"), [230, 159, 0]);
  assert.deepEqual(partsOf("rgb(1, 2, 3)"), [1, 2, 3]);
  assert.equal(inMemory("#010203"), 0xff030201);
  assert.equal(inMemory("#ffffff", 0.5, "#000000"), 0xff808080);
  assert.deepEqual([0, 127, 254, 255].map((one) => stepOf(one, 5)), [0, 2, 4, -1]);
  assert.ok(widthOf(1_000_000, 1, 1) === 1 && widthOf(500, 1, 1) > widthOf(100_000, 1, 1));
  assert.deepEqual(counted(Uint8Array.of(1, 1, 2)), [[1, 2], [2, 1]]);
});
