// What is selected of a long list, and what a rubber band spans.

import assert from "node:assert/strict";
import { test } from "node:test";
import { placesOf, Selection, spanned } from "../../src/lookalike/server/static/selection.js";

const MILLION = 1_000_000;

test("ranges that touch are one, and a hole parts them again", () => {
  const some = new Selection([[3, 5]]).with([[6, 9], [20, 30]]).without([[7, 7], [25, 40]]);

  assert.deepEqual(some.parts, [[3, 6], [8, 9], [20, 24]]);
  assert.equal(some.size(100), 11);
  assert.deepEqual([2, 3, 7, 9, 19, 24, 25].map((place) => some.has(place)), [false, true, false, true, false, true, false]);
});

test("all but some is kept as what is left out", () => {
  const all = new Selection([], true).toggled(7).without([[10, 19]]).with([[15, 15]]);

  assert.deepEqual(all.parts, [[7, 7], [10, 14], [16, 19]]);
  assert.equal(all.size(MILLION), MILLION - 10);
  assert.deepEqual([6, 7, 15, 16].map((place) => all.has(place)), [true, false, true, false]);
  assert.equal(all.toggled(7).has(7), true);
});

test("a million places are one range", () => {
  const some = new Selection().with([[0, MILLION - 1]]).toggled(5);

  assert.deepEqual(some.parts, [[0, 4], [6, MILLION - 1]]);
  assert.deepEqual([...placesOf([[2, 4], [9, 9]])], [2, 3, 4, 9]);
});

test("any ranges do what sets of places do", () => {
  let seed = 1;
  const below = (/** @type {number} */ top) => (seed = (seed * 48_271) % 2_147_483_647) % top;
  const places = new Set();
  let some = new Selection();
  for (let turn = 0; turn < 300; turn += 1) {
    const first = below(60);
    const last = first + below(8);
    const adds = below(2) === 1;
    some = adds ? some.with([[first, last]]) : some.without([[first, last]]);
    for (let place = first; place <= last; place += 1) adds ? places.add(place) : places.delete(place);
    assert.deepEqual([...placesOf(some.parts)], [...places].sort((a, b) => a - b));
  }
});

const GRID = { columns: 4, row: 100, gap: 6, count: 10 };

test("a rubber band spans the tiles that it touches, and no gap", () => {
  assert.deepEqual(spanned({ left: 110, right: 250, top: 50, bottom: 120 }, GRID), [[1, 2], [5, 6]]);
  assert.deepEqual(spanned({ left: 95, right: 99, top: 0, bottom: 300 }, GRID), []);
  assert.deepEqual(spanned({ left: -20, right: 900, top: -50, bottom: 150 }, GRID), [[0, 7]]);
});

test("a rubber band ends where the list does", () => {
  assert.deepEqual(spanned({ left: 0, right: 900, top: 150, bottom: 5000 }, GRID), [[4, 9]]);
  assert.deepEqual(spanned({ left: 210, right: 260, top: 0, bottom: 5000 }, GRID), [[2, 2], [6, 6]]);
  assert.deepEqual(spanned({ left: 0, right: 50, top: 400, bottom: 500 }, GRID), []);
});
