// The pure modules of the review page: slots, labels, addresses, state and answers on their way.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Api, Failure, withQuery } from "../../src/lookalike/server/static/api.js";
import { matching, offered, tidy } from "../../src/lookalike/server/static/labels.js";
import { eventOf } from "../../src/lookalike/server/static/live.js";
import { format, parse } from "../../src/lookalike/server/static/router.js";
import { Slots } from "../../src/lookalike/server/static/slots.js";
import { Outbox, Store } from "../../src/lookalike/server/static/store.js";

test("a label keeps the first free slot that it got", () => {
  const kept = new Map();
  const slots = new Slots("shop", kept);
  ["Hat", "Cat", "Hat", "Car"].forEach((label) => slots.use(label));

  assert.deepEqual([1, 2, 3, 4].map((one) => slots.at(one)), ["Hat", "Cat", "Car", null]);
  assert.equal(slots.last, "Car");
  assert.equal(new Slots("shop", kept).of("Car"), 3);
});

test("the tenth label gets no slot, and a pinned one leaves its old slot", () => {
  const slots = new Slots("shop", new Map());
  for (const one of "abcdefghij") slots.use(one);
  slots.pin(9, "a");
  slots.use("j");

  assert.deepEqual([slots.at(1), slots.at(9), slots.of("i")], ["j", "a", 0]);
});

test("labels that are there get numbers where nobody has chosen any", () => {
  const slots = new Slots("shop", new Map());
  slots.offer([..."abcdefghijkl"]);
  slots.offer(["z"]);

  assert.deepEqual([slots.at(1), slots.at(9), slots.of("j"), slots.of("z")], ["a", "i", 0, 0]);
});

test("what was kept and cannot be read is no slot", () => {
  assert.equal(new Slots("shop", new Map([["slots/shop", "{"]])).at(1), null);
});

test("the best match of some letters comes first", () => {
  const labels = ["Animal > Cat", "Vehicle > Car", "Food > Cake", "Catalogue", "Building"];

  assert.deepEqual(matching("cat", labels), ["Animal > Cat", "Catalogue"]);
  assert.deepEqual(matching("ca", labels), ["Catalogue", "Animal > Cat", "Vehicle > Car", "Food > Cake"]);
  assert.deepEqual(matching("bdg", labels), ["Building"]);
  assert.deepEqual(matching("", labels), labels);
});

test("what Enter takes is never a label that only has the letters somewhere", () => {
  const labels = ["Herb > Spearmint", "Fruit > Apple", "Fruit > Pear", "Fruit > Prickly pear", "Pearl onion", "Plate armour"];
  const offers = (/** @type {string} */ typed, /** @type {string[]} */ some) => offered(typed, some, { creates: true }).map((one) => (one.isNew ? `new ${one.name}` : one.name));

  assert.deepEqual(offers("Pear", ["Herb > Spearmint", "Plate armour"]), ["new Pear", "Herb > Spearmint", "Plate armour"]);
  assert.deepEqual(offers("pear", labels), ["Fruit > Pear", "Pearl onion", "Fruit > Prickly pear", "new pear", "Herb > Spearmint", "Plate armour"]);
  assert.deepEqual(offers("Fruit>Pear", labels), ["Fruit > Pear", "Fruit > Prickly pear"]);
  assert.deepEqual(offers("fruit > Pea", labels), ["Fruit > Pear", "new fruit > Pea", "Fruit > Prickly pear"]);
  assert.deepEqual(offers("arm", labels), ["Plate armour", "new arm", "Herb > Spearmint"]);
  assert.deepEqual(offers("  ", labels), labels);
  assert.deepEqual(offered("mint", labels).map((one) => one.name), ["Herb > Spearmint"], "nothing is made in the palette");
});

test("a new label is offered however many labels begin with it", () => {
  const labels = Array.from({ length: 30 }, (_, one) => `Cat ${one}`);

  const rows = offered("Cat", labels, { creates: true });

  assert.deepEqual([rows.length, rows[0].name, rows.at(-1)], [11, "Cat 0", { name: "Cat", isNew: true }]);
});

test("a typed label is kept as a path of tidy parts", () => {
  assert.equal(tidy("  Shoes>  Running  shoes >"), "Shoes > Running shoes");
});

test("an address says all, and what is empty is left out", () => {
  const route = { page: "review", params: { c: "a shop", tab: "" } };

  assert.equal(format(route), "#/review?c=a+shop");
  assert.deepEqual(parse("#/review?c=a+shop"), { page: "review", params: { c: "a shop" } });
  assert.deepEqual(parse(""), { page: "start", params: {} });
  assert.equal(withQuery("/x", { a: 1, b: null, c: "" }), "/x?a=1");
});

test("who follows a state is told once after what changes together", async () => {
  const store = new Store({ a: 1, b: 1 });
  let told = 0;
  const end = store.subscribe(() => (told += 1));
  store.set({ a: 2 });
  store.set({ b: 2 });
  await null;
  store.set({ b: 2 });
  await null;
  end();
  store.set({ b: 3 });
  await null;

  assert.equal(told, 1);
});

/** @param {(Error | object)[]} answers */
function outbox(answers) {
  const sent = /** @type {any[]} */ ([]);
  const box = new Outbox(
    async (path, body) => {
      sent.push([path, body.op_id, body.n]);
      const answer = answers.shift() ?? {};
      if (answer instanceof Error) throw answer;
      return answer;
    },
    { pause: async () => {} },
  );
  return { box, sent };
}

test("answers are sent in their order, each under its own id", async () => {
  const { box, sent } = outbox([]);
  box.add({ id: "1", path: "/a", body: { n: 1 }, what: "" });
  box.add({ id: "2", path: "/a", body: { n: 2 }, what: "" });
  await box.settled();

  assert.deepEqual(sent, [["/a", "1", 1], ["/a", "2", 2]]);
});

test("without a connection an answer waits, and is sent again under the same id", async () => {
  const cut = new Failure(0, "offline", "");
  const { box, sent } = outbox([cut, cut, cut, cut, cut]);
  const heard = /** @type {boolean[]} */ ([]);
  box.addEventListener("cut", () => heard.push(box.isCut));
  box.add({ id: "1", path: "/a", body: {}, what: "", back: () => assert.fail("painted back") });
  await box.settled();

  assert.equal(sent.length, 6);
  assert.deepEqual(new Set(sent.map((one) => one[1])), new Set(["1"]));
  assert.deepEqual(heard, [true, false]);
});

test("what the server refuses is painted back, and the rest goes on", async () => {
  const { box } = outbox([new Failure(422, "bad_input", "no such label"), { ok: true }]);
  const heard = /** @type {string[]} */ ([]);
  box.addEventListener("refused", (event) => heard.push(event.detail.failure.message));
  box.add({ id: "1", path: "/a", body: {}, what: "", back: () => heard.push("back") });
  box.add({ id: "2", path: "/a", body: {}, what: "", done: () => heard.push("done") });
  await box.settled();

  assert.deepEqual(heard, ["back", "no such label", "done"]);
});

test("a server that fails is asked three times, then the answer is painted back", async () => {
  const { box, sent } = outbox([500, 500, 500].map((status) => new Failure(status, "internal", "")));
  let isBack = false;
  box.add({ id: "1", path: "/a", body: {}, what: "", back: () => (isBack = true) });
  await box.settled();

  assert.deepEqual([sent.length, isBack], [3, true]);
});

test("of an answer that others gave in part, the rest is sent, and what is refused goes back", async () => {
  const stale = () => new Failure(409, "stale", "too late");
  const { box, sent } = outbox([stale(), {}, stale()]);
  const heard = /** @type {string[]} */ ([]);
  const rest = (/** @type {any} */ _failure, /** @type {any} */ body) => (body.n > 1 ? { n: body.n - 1 } : null);
  const back = (/** @type {Failure} */ failure) => heard.push(failure.code);
  box.add({ id: "1", path: "/a", body: { n: 2 }, what: "", rest, back });
  box.add({ id: "2", path: "/a", body: { n: 1 }, what: "", rest, back });
  await box.settled();

  assert.deepEqual(sent, [["/a", "1", 2], ["/a", "1", 1], ["/a", "2", 1]]);
  assert.deepEqual(heard, ["stale"]);
});

test("answers that wait survive a reload", () => {
  const kept = new Map();
  const storage = { getItem: (/** @type {string} */ name) => kept.get(name) ?? null, setItem: (/** @type {string} */ name, /** @type {string} */ text) => kept.set(name, text) };
  const never = new Outbox(() => new Promise(() => {}), { storage });
  never.add({ id: "1", path: "/a", body: { n: 1 }, what: "a cat" });

  const after = new Outbox(async () => ({}), { storage });

  assert.deepEqual(after.waiting, [{ id: "1", path: "/a", body: { n: 1 }, what: "a cat" }]);
});

test("an error of the server says what it said, and no connection says so", async () => {
  const told = JSON.stringify({ error: { code: "stale", message: "read it again", details: { revisions: {} } } });
  const refusing = new Api({ storage: null, fetch: async () => new Response(told, { status: 409 }) });
  const silent = new Api({ storage: null, fetch: async () => Promise.reject(new TypeError("failed")) });

  await assert.rejects(refusing.get("/x"), { status: 409, code: "stale", message: "read it again" });
  await assert.rejects(silent.get("/x"), { status: 0, code: "offline" });
});

test("an event of the stream is its data, and a comment is nothing", () => {
  assert.equal(eventOf(": still here"), null);
  assert.deepEqual(eventOf('id: 4\nevent: label\ndata: {"revision": 4}'), { revision: 4 });
});
