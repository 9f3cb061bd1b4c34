// A sheet: its groups, what is marked on it, and what it is answered with.

import assert from "node:assert/strict";
import { test } from "node:test";
import { answersOf, arranged, countsOf, groupsOf, isSheet, moreOf, put, toldOf } from "../../src/lookalike/server/static/sheets.js";

/**
 * A sheet of documents a, b, c … with the labels given.
 * @param {(string | null)[]} labels @param {Record<string, any>} [more] @returns {any}
 */
function sheet(labels, more = {}) {
  const documents = labels.map((_, place) => ({ document_id: String.fromCharCode(97 + place) }));
  return arranged({ kind: "check", worth: labels.length, documents, suggestions: labels, marks: new Map(), ...more });
}

/** @param {{document_id: string}[]} documents */
const ids = (documents) => documents.map((one) => one.document_id).join("");

test("only checks and suspects are sheets", () => {
  assert.deepEqual(["check", "suspect", "names", "value", "new_kind"].map((kind) => isSheet({ kind })), [true, true, true, false, false]);
  assert.equal(isSheet(undefined), false);
});

test("items stand by their label, the label with most of them first, and keep their order", () => {
  const one = sheet(["Cat", "Hat", null, "Hat", "Bus"]);

  assert.equal(ids(one.documents), "bdeac");
  assert.deepEqual(groupsOf(one).map(({ label, start, count }) => [label, start, count]), [["Hat", 0, 2], ["Bus", 2, 1], ["Cat", 3, 1], [null, 4, 1]]);
});

test("what nobody marked is confirmed, and each mark is said in its way", () => {
  const one = sheet(["Hat", "Hat", "Hat", "Hat", "Hat"]);
  put(one, 1, { label: "Cap" });
  put(one, 2, { verdict: "out" });
  put(one, 3, { verdict: "new_kind" });
  put(one, 4, { verdict: "cannot_tell" });
  const said = answersOf(one);

  assert.deepEqual(said.labels.map(({ doc, label }) => [doc.document_id, label]), [["a", "Hat"], ["b", "Cap"]]);
  assert.deepEqual(said.rejected.map(({ doc, label }) => [doc.document_id, label]), [["c", "Hat"]]);
  assert.deepEqual([ids(said.newKind), ids(said.cannotTell)], ["d", "e"]);
  assert.deepEqual(groupsOf(one)[0].kept, 1);
  assert.equal(toldOf(one), "1 confirmed, 1 corrected, 1 dropped, 2 new or unclear");
});

test("a mark can be taken off, and the label that an item has already is none", () => {
  const one = sheet(["Hat", "Hat"]);
  put(one, 0, { verdict: "out" });
  put(one, 0, { label: "Hat" });
  put(one, 1, { verdict: "out" });
  put(one, 1, null);

  assert.equal(one.marks.size, 0);
});

test("an item without a label is neither confirmed nor refused until it is named", () => {
  const one = sheet([null]);
  const empty = { labels: [], rejected: [], newKind: [], cannotTell: [] };

  assert.deepEqual(answersOf(one), empty);
  put(one, 0, { verdict: "out" });
  assert.deepEqual(answersOf(one), empty);
  put(one, 0, { label: "Hat" });
  assert.equal(answersOf(one).labels.length, 1);
});

test("labels that look wrong are kept", () => {
  const one = sheet(["Hat", "Cap"], { kind: "suspect" });

  assert.deepEqual([toldOf(one), countsOf(one).kept], ["2 kept", 2]);
});

test("what a check brings is told beside the sheet itself, to three digits", () => {
  assert.equal(moreOf(sheet(["Hat", "Hat"], { worth: 1239.4 })), 1240);
  assert.equal(moreOf(sheet(["Hat", "Hat"], { worth: 1.2 })), 0);
});
