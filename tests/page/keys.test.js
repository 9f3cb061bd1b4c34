// The registry of keys and who hears them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { KEYS, Keyboard, SCOPES, shown, tokenOf } from "../../src/lookalike/server/static/keys.js";

/** @param {string} key @param {object} [more] */
function press(key, more = {}) {
  return { key, code: "", timeStamp: 0, target: null, preventDefault() {}, ...more };
}

test("a key means one thing in a scope, and nothing else everywhere", () => {
  for (const scope of Object.keys(SCOPES)) {
    const keys = KEYS.filter((one) => one.scope === scope).flatMap((one) => one.keys);
    assert.deepEqual(keys, [...new Set(keys)], scope);
  }
  const page = KEYS.filter((one) => one.scope === "items" || one.scope === "decide").flatMap((one) => one.keys);
  assert.equal(page.length, new Set(page).size);
  const everywhere = KEYS.filter((one) => one.scope === "everywhere").flatMap((one) => one.keys);
  assert.deepEqual(everywhere.filter((one) => page.includes(one)), []);
});

test("every scope of the registry is shown in the overlay", () => {
  assert.deepEqual(new Set(KEYS.map((one) => one.scope)), new Set(Object.keys(SCOPES)));
});

test("Backspace, Delete and Ctrl+Enter stay unbound", () => {
  const keys = KEYS.flatMap((one) => one.keys);
  assert.deepEqual(keys.filter((one) => /Backspace|Delete|Ctrl\+Enter/.test(one)), []);
});

test("digits go by where they are, letters by what they mean", () => {
  assert.equal(tokenOf({ key: "&", code: "Digit1" }), "1");
  assert.equal(tokenOf({ key: "1", code: "Numpad1" }), "1");
  assert.equal(tokenOf({ key: "z", code: "KeyY" }), "z");
  assert.equal(tokenOf({ key: "Z", code: "KeyY", shiftKey: true }), "Shift+Z");
  assert.equal(tokenOf({ key: "?", code: "Minus", shiftKey: true }), "?");
  assert.equal(tokenOf({ key: "Enter", shiftKey: true }), "Shift+Enter");
  assert.equal(tokenOf({ key: "k", metaKey: true }), "Ctrl+k");
  assert.equal(tokenOf({ key: "x", altKey: true }), "");
});

test("keys are written as they stand on a keyboard", () => {
  assert.deepEqual(["g r", "Shift+Z", " ", "+", "ArrowLeft", "Ctrl+k"].map(shown), ["G R", "Shift+Z", "Space", "+", "←", "Ctrl+K"]);
});

test("who came last is asked first, and a modal layer lets nothing through", () => {
  const heard = /** @type {string[]} */ ([]);
  const keyboard = new Keyboard();
  keyboard.bind("everywhere", { help: () => heard.push("help"), close: () => heard.push("page") });
  const end = keyboard.bind("everywhere", { close: () => heard.push("box") }, { modal: true });

  keyboard.press(press("Escape"));
  keyboard.press(press("?"));
  end();
  keyboard.press(press("Escape"));
  keyboard.press(press("?"));

  assert.deepEqual(heard, ["box", "page", "help"]);
});

test("a layer that is off hears nothing and holds nobody up", () => {
  const heard = /** @type {string[]} */ ([]);
  const keyboard = new Keyboard();
  let isOn = true;
  keyboard.bind("everywhere", { close: () => heard.push("page") });
  keyboard.bind("everywhere", { close: () => heard.push("box") }, { modal: true, isOn: () => isOn });

  keyboard.press(press("Escape"));
  isOn = false;
  keyboard.press(press("Escape"));

  assert.deepEqual(heard, ["box", "page"]);
});

test("a handler that returns false leaves the key to the one below", () => {
  const heard = /** @type {string[]} */ ([]);
  const keyboard = new Keyboard();
  keyboard.bind("everywhere", { close: () => heard.push("below") });
  keyboard.bind("everywhere", { close: () => false });

  assert.equal(keyboard.press(press("Escape")), true);
  assert.deepEqual(heard, ["below"]);
});

test("one key after another is a key, for a while", () => {
  const heard = /** @type {string[]} */ ([]);
  const keyboard = new Keyboard();
  keyboard.bind("everywhere", { review: () => heard.push("review") });

  keyboard.press(press("g"), 0);
  keyboard.press(press("r"), 500);
  keyboard.press(press("g"), 1000);
  keyboard.press(press("r"), 9000);

  assert.deepEqual(heard, ["review"]);
});

test("letters are text in a field, in composition, and where they are switched off", () => {
  const heard = /** @type {string[]} */ ([]);
  const keyboard = new Keyboard();
  keyboard.bind("everywhere", { undo: () => heard.push("undo"), help: () => heard.push("help") });
  const field = { matches: () => true, closest: () => null };

  keyboard.press(press("z", { target: field }));
  keyboard.press(press("z", { isComposing: true }));
  keyboard.hasLetters = false;
  keyboard.press(press("z"));
  keyboard.press(press("?"));

  assert.deepEqual(heard, ["help"]);
});
