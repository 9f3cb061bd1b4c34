// When the page asks whether these are all the labels.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Closing } from "../../src/lookalike/server/static/closing.js";

const known = ["Cat", "Hat"];
const open = { known, isClosed: false };

/** @param {Closing} closing @param {string[]} labels */
function say(closing, ...labels) {
  for (const one of labels) closing.note("shop", [one], { known });
}

test("it is asked after four answers in a row that name no new label", () => {
  const closing = new Closing(new Map());
  say(closing, "Cat", "Hat", "Cat", "Bus", "Cat", "Hat", "Cat");
  const before = closing.isDue("shop", open);
  say(closing, "Cat");

  assert.deepEqual([before, closing.isDue("shop", open), closing.isDue("other", open)], [false, true, false]);
});

test("a sheet without a new label is enough by itself", () => {
  const closing = new Closing(new Map());
  closing.note("shop", ["Cat", "Hat"], { known, isSheet: true });

  assert.equal(closing.isDue("shop", open), true);
});

test("it is asked once, of few labels, and only of a set that is known to be open", () => {
  const kept = new Map();
  const closing = new Closing(kept);
  say(closing, "Cat", "Cat", "Cat", "Cat");
  const many = Array.from({ length: 13 }, (_, one) => `Cat ${one}`);
  const asked = [{ known: ["Cat"], isClosed: false }, { known: many, isClosed: false }, { known, isClosed: true }, { known, isClosed: undefined }];

  assert.deepEqual(asked.map((one) => closing.isDue("shop", one)), [false, false, false, false]);
  closing.end("shop");
  assert.equal(closing.isDue("shop", open), false);
  const later = new Closing(kept);
  say(later, "Cat", "Cat", "Cat", "Cat");
  assert.equal(later.isDue("shop", open), false);
});
