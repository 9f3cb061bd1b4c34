// What is kept by name while it is used.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Kept } from "../../src/lookalike/server/static/kept.js";

test("what was not asked for longest goes, and is told", async () => {
  const gone = /** @type {string[]} */ ([]);
  const kept = new Kept(2, (value) => gone.push(value));
  let made = 0;
  const ask = (/** @type {string} */ name) => kept.once(name, async () => ((made += 1), name.toUpperCase()));

  for (const name of ["a", "b", "a", "c"]) assert.equal(await ask(name), name.toUpperCase());

  assert.deepEqual([gone, made], [["B"], 3]);
  assert.equal(await ask("b"), "B");
  assert.deepEqual([gone, made], [["B", "A"], 4]);
});

test("what is on its way stays, and what just came is not the first to go", async () => {
  const gone = /** @type {string[]} */ ([]);
  const kept = new Kept(1, (value) => gone.push(value));
  let come = /** @type {(value: string) => void} */ (() => {});
  const slow = kept.once("slow", () => new Promise((done) => (come = done)));
  await kept.once("quick", async () => "quick");

  come("slow");

  assert.equal(await slow, "slow");
  assert.deepEqual(gone, ["quick"]);
});

test("what could not be made is asked for again", async () => {
  const kept = new Kept(2);

  await assert.rejects(kept.once("a", async () => Promise.reject(new Error("no"))), /no/);

  assert.equal(await kept.once("a", async () => "yes"), "yes");
});
