// Documents asked about one after the other: what is held, taken back, sent together, asked again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Stream } from "../../src/lookalike/server/static/stream.js";

const DOCS = ["a", "b", "c", "d"].map((document_id) => ({ document_id }));
const right = /** @type {const} */ ({ verdict: "right" });

/** A stream over four documents, and what it has sent. @param {{after: (end: () => void) => void}} t */
function made(t) {
  /** @type {{ids: string[], settled: (isRecorded: boolean) => void}[]} */
  const sent = [];
  const stream = new Stream((answers, settled) => sent.push({ ids: answers.map((one) => one.doc.document_id), settled }), () => {}, 1e6);
  stream.fill(DOCS);
  t.after(() => clearTimeout(stream.held?.timer));
  return { stream, sent, asked: () => stream.queue.map((one) => one.document_id).join("") };
}

test("an answer is held until the next one, and can be taken back", (t) => {
  const { stream, sent, asked } = made(t);

  stream.say(right);
  assert.equal(sent.length, 0);
  assert.ok(stream.takeBack());
  assert.equal(asked(), "abcd");
  stream.say(right);
  stream.say(right);

  assert.deepEqual(sent[0].ids, ["a"]);
  assert.equal(stream.held?.doc.document_id, "b");
  stream.takeBack();
  assert.ok(!stream.takeBack());
});

test("answers that gather while one is on its way go together", (t) => {
  const { stream, sent } = made(t);
  for (let one = 0; one < 4; one += 1) stream.say(right);
  stream.flush();
  assert.equal(sent.length, 1);

  sent[0].settled(true);

  assert.deepEqual(sent[1].ids, ["b", "c", "d"]);
});

test("who leaves waits for nothing", (t) => {
  const { stream, sent } = made(t);
  stream.say(right);
  stream.say(right);
  stream.clear();

  assert.deepEqual(sent.map((one) => one.ids), [["a"], ["b"]]);
});

test("what was refused is asked again, after the one that is shown", (t) => {
  const { stream, sent, asked } = made(t);
  stream.say(right);
  stream.say(right);
  sent[0].settled(false);

  assert.equal(asked(), "cad");
  stream.later();
  assert.equal(asked(), "adc");
});

test("what was refused is asked at once where nothing else is left", (t) => {
  const { stream, sent, asked } = made(t);
  for (let one = 0; one < 4; one += 1) stream.say(right);
  stream.flush();
  sent[0].settled(true);
  sent[1].settled(false);

  assert.equal(asked(), "bcd");
});

test("what the server says is waiting leaves out what was answered here", (t) => {
  const { stream, asked } = made(t);
  stream.say(right);
  stream.fill([...DOCS, { document_id: "e" }]);
  assert.equal(asked(), "bcde");
  stream.fill([{ document_id: "c" }]);

  assert.equal(asked(), "c");
});
