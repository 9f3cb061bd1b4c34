// What two have apart: words of texts, and which references a document is compared with.

import assert from "node:assert/strict";
import { test } from "node:test";
import { apart, nearestOfEach } from "../../src/lookalike/server/static/compare.js";

/** @param {string} text @param {string} other */
const only = (text, other) => apart(text, other).filter((one) => one.isOnly).map((one) => one.text);

test("the words that only one text has are marked, whatever their case", () => {
  assert.deepEqual(only("My new card, please!", "my OLD card please"), ["new"]);
  assert.deepEqual(only("costs 1,200.50 a year", "costs 1,300.50 a year"), ["1,200.50"]);
  assert.deepEqual(only("the same", "The same."), []);
});

test("a text in pieces is the text", () => {
  const text = "  Wo bleibt\nmeine Überweisung? – 3-mal.";

  assert.equal(apart(text, "meine Überweisung kam 3-mal").map((one) => one.text).join(""), text);
});

test("where hardly a word is shared, or nothing stands beside, nothing is marked", () => {
  assert.deepEqual(only("one two three four five", "one of something else"), []);
  assert.deepEqual(only("one two", ""), []);
});

test("each label sends its nearest reference, the proposed one first", () => {
  const witness = (/** @type {string} */ label, /** @type {number} */ similarity) => ({ match: { label, similarity } });
  const near = [witness("Cat", 0.9), witness("Cat", 0.8), witness("Dog", 0.7), witness("Fox", 0.6)];
  const labels = (/** @type {string | null} */ proposed) => nearestOfEach(near, proposed).map((one) => `${one.match.label} ${one.match.similarity}`);

  assert.deepEqual(labels("Fox"), ["Fox 0.6", "Cat 0.9", "Dog 0.7"]);
  assert.deepEqual(labels(null), ["Cat 0.9", "Dog 0.7", "Fox 0.6"]);
});
