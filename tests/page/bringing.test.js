// What is brought in: tables, zips, plans; and the modules of questions and long lists.

import assert from "node:assert/strict";
import { test } from "node:test";
import { contentColumn, rowsOf } from "../../src/lookalike/server/static/csv.js";
import { rate } from "../../src/lookalike/server/static/figures.js";
import { meant, Queue } from "../../src/lookalike/server/static/queue.js";
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

/** @param {string[][]} groups */
function questions(groups) {
  return groups.map((ids) => ({
    documents: ids.map((document_id) => ({ document_id, labels: { label: { label: null, revision: 1 } } })),
    suggestion: null, worth: 1, kind: "value", place: "", opinions: [],
  }));
}

test("what is on screen stays when the queue is asked anew, and nothing is asked twice", async () => {
  const answers = [questions([["a"], ["b"], ["c"], ["d"], ["e"]]), questions([["c"], ["x", "b"], ["y"]])];
  const queue = new Queue(async () => ({ results: answers.shift() ?? [], snapshot: "s", next_offset: null }));
  await queue.fill();
  await queue.renew();

  assert.deepEqual(queue.strips.map((one) => one.key), ["a", "b", "c", "y"]);
});

test("who answers goes to the next open question, and undoing goes back", async () => {
  const queue = new Queue(async () => ({ results: questions([["a"], ["b"], ["c"]]), snapshot: "s", next_offset: null }));
  await queue.fill();
  queue.strips[0].state = queue.strips[1].state = "said";
  queue.advance();
  const at = queue.at;
  queue.reopen(queue.strips[0]);

  assert.deepEqual([at, queue.at, queue.strips[0].state], [2, 0, "open"]);
});

test("news of a document are merged once, and older ones are not", async () => {
  const queue = new Queue(async () => ({ results: questions([["a", "b"]]), snapshot: "s", next_offset: null }));
  await queue.fill();
  const news = new Map([["a", { label: "Cat", origin: "auto", revision: 2 }], ["b", { label: "Dog", origin: "auto", revision: 1 }]]);

  const changed = queue.merge(news, "label");

  assert.deepEqual([...changed], ["a"]);
  assert.deepEqual(queue.strips[0].documents.map((one) => one.labels.label.label), ["Cat", null]);
});

test("what was X-ed out is not meant", () => {
  const [strip] = questions([["a", "b"]]);

  assert.deepEqual(meant({ ...strip, out: new Set(["a"]) }).map((one) => one.document_id), ["b"]);
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
