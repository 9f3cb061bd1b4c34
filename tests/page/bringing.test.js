// What is brought in: tables, zips, plans; and the modules of questions and long lists.

import assert from "node:assert/strict";
import { test } from "node:test";
import { contentColumn, rowsOf } from "../../src/lookalike/server/static/csv.js";
import { rate } from "../../src/lookalike/server/static/figures.js";
import { nameFrom, planOf, thingsIn } from "../../src/lookalike/server/static/upload.js";
import { TALLEST_PX, topOf, windowOf } from "../../src/lookalike/server/static/window.js";
import { filesIn } from "../../src/lookalike/server/static/zip.js";

test("a table is read with its quotes, separators and line ends", () => {
  const rows = rowsOf('\uFEFFid;text\r\n1;"a ""word""; and\nmore"\r\n\r\n2;b\r\n');

  assert.deepEqual(rows, [{ id: "1", text: 'a "word"; and\nmore' }, { id: "2", text: "b" }]);
  assert.equal(contentColumn(rows), "text");
  assert.deepEqual(rowsOf("a\tb\n1\t2"), [{ a: "1", b: "2" }]);
  assert.deepEqual(rowsOf(""), []);
});

test("what is no zip says so", async () => {
  await assert.rejects(filesIn(new Blob(["no zip at all, but long enough for one"])), /no zip/);
});

test("a collection gets a name that it can have", () => {
  assert.equal(nameFrom("Été 2026.zip"), "E-te-2026");
  assert.equal(nameFrom("shop/a/b.png"), "shop");
  assert.equal(nameFrom("…"), "items");
});

test("what there is most of is what a collection is made of", async () => {
  const files = ["a.png", "b.JPG", "c.txt", "d.exe"].map((name) => new File(["x"], name));

  const plan = planOf(await thingsIn(files));

  assert.deepEqual([plan.kind, plan.usable.length, plan.left], ["image", 2, 2]);
});

test("of a million and of four million items the first, the middle and the last can be seen", () => {
  for (const count of [1_000, 1_000_000, 4_000_000]) {
    const shape = { count, columns: 8, row: 138, height: 700 };
    const rows = count / 8;
    const at = (/** @type {number} */ top) => windowOf({ ...shape, top });
    const { sizer } = at(0);

    assert.ok(sizer <= TALLEST_PX);
    assert.equal(at(0).first, 0);
    assert.equal(at(sizer - 700).last, rows);
    assert.ok(Math.abs((at((sizer - 700) / 2).first + at((sizer - 700) / 2).last) / 2 - rows / 2) < 4);
    for (const wanted of [0, 7, Math.floor(rows / 2), rows - 1]) {
      const seen = at(topOf(shape, wanted));
      assert.ok(seen.first <= wanted && wanted < seen.last, `${wanted} of ${count}`);
    }
  }
});

test("rows follow each other without a gap, however long the list", () => {
  const shape = { count: 4_000_000, columns: 8, row: 138, height: 700 };
  const top = 7_000_000;
  const seen = windowOf({ ...shape, top });

  assert.ok(seen.offset <= top && seen.offset > top - 3 * 138);
  assert.ok(seen.last - seen.first < 10);
});

test("a rate says its interval and from how many", () => {
  assert.equal(rate({ rate: null, low: null, high: null, checked: 0 }), null);
  assert.deepEqual(rate({ rate: 0.1, low: 0.05, high: 0.2, checked: 20 }), { rate: "10 %", interval: "5–20 %", from: "from 20 checked", isThin: true });
});
