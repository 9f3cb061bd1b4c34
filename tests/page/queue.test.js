// What is asked at Review: what stays on screen, what is asked anew, and when it is over.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Failure } from "../../src/lookalike/server/static/api.js";
import { meant, Queue } from "../../src/lookalike/server/static/queue.js";

/** @param {string} groups documents of one letter, groups apart by blanks */
function questions(groups) {
  return groups.split(" ").filter(Boolean).map((ids) => ({
    documents: [...ids].map((document_id) => ({ document_id, labels: { label: { label: null, revision: 1 } } })),
    suggestion: null, worth: 1, kind: "value", place: "", opinions: [],
  }));
}

/**
 * A queue whose server answers with `pages` in turn, each groups and whether more of that snapshot comes; an error is thrown.
 * @param {([string, boolean?] | Error)[]} pages
 */
function served(...pages) {
  const asked = /** @type {string[]} */ ([]);
  const queue = new Queue(async ({ snapshot, offset }) => {
    asked.push(`${snapshot ?? "anew"} ${offset}`);
    await null;
    const page = pages.shift() ?? [""];
    if (page instanceof Error) throw page;
    return { results: questions(page[0]), snapshot: "s", next_offset: page[1] ? 12 : null };
  });
  return { queue, asked, ids: () => queue.strips.map((one) => one.documents.map((doc) => doc.document_id).join("")).join(" ") };
}

/** Let all that is asked come. */
const come = () => new Promise((done) => setTimeout(done, 2));

/** Answer what is asked, as a person does; returns what lets the server have it. @param {Queue} queue */
function answer(queue) {
  const strip = /** @type {import("../../src/lookalike/server/static/queue.js").Strip} */ (queue.strip);
  queue.say(strip, "Cat");
  return () => queue.settle(strip, "op");
}

test("what is on screen stays when the queue is asked anew, and nothing is asked twice", async () => {
  const { queue, ids } = served(["a b c d e"], ["c xb y"]);
  await queue.fill();
  await queue.renew();

  assert.equal(ids(), "a b c x y");
});

test("after each of the first answers the rest is asked anew", async () => {
  const { queue, asked, ids } = served(["a b c d e f g h i j"], ["x d"], ["y d"]);
  queue.early = 2;
  await queue.fill();
  for (let turn = 0; turn < 3; turn += 1) {
    answer(queue)();
    await come();
  }

  assert.deepEqual([asked, ids()], [["anew 0", "anew 0", "anew 0"], "a b c x y d"]);
});

test("a sheet is shown by its labels, without what is asked here already", async () => {
  const { queue } = served(["b"]);
  const documents = [..."abc"].map((document_id) => ({ document_id, labels: {} }));
  await queue.fill();
  queue.ask = async () => ({ results: [{ documents, suggestions: ["Hat", "Cat", "Bus"], kind: "check" }], snapshot: "s", next_offset: null });
  await queue.renew();
  const sheet = queue.strips[1];

  assert.deepEqual(sheet.documents.map((one) => one.document_id), ["c", "a"]);
  assert.deepEqual([sheet.suggestions, sheet.marks.size], [["Bus", "Hat"], 0]);
});

test("what was X-ed out or skipped stays on a check, which counts only when all of it is answered", async () => {
  const { queue, ids } = served(["ab c d e"]);
  await queue.fill();
  queue.strips[0].out = new Set(["b"]);
  answer(queue)();
  queue.skip(queue.strips[1]);
  queue.ask = async () => ({ results: [{ ...questions("bcdx")[0], kind: "check", suggestions: [..."BCDX"] }, ...questions("bcy")], snapshot: "s", next_offset: null });
  await queue.renew();

  assert.equal(ids(), "ab c d e bcx y");
});

test("a check that was skipped does not come again, another one does", async () => {
  const { queue, ids } = served([""]);
  const check = (/** @type {string} */ all) => ({ ...questions(all)[0], kind: "check", suggestions: [...all] });
  queue.ask = async () => ({ results: [check("abc")], snapshot: "s", next_offset: null });
  await queue.fill();
  queue.skip(queue.strips[0]);
  await queue.renew();
  assert.equal(ids(), "abc");
  queue.ask = async () => ({ results: [check("bcd")], snapshot: "s", next_offset: null });
  await queue.renew();

  assert.equal(ids(), "abc bcd");
});

test("who answers goes to the next open question, and undoing goes back", async () => {
  const { queue } = served(["a b c"]);
  await queue.fill();
  answer(queue);
  answer(queue);
  const at = queue.at;
  queue.reopen(queue.strips[0]);

  assert.deepEqual([at, queue.at, queue.strips[0].state], [2, 0, "open"]);
});

test("who is quicker than the server waits for more, and is not told that it is over", async () => {
  const { queue } = served(["a b", true], ["c d"]);
  queue.fill();
  while (!queue.strip) await null;
  answer(queue);
  answer(queue);
  const isOver = queue.isOver;
  await come();

  assert.deepEqual([isOver, queue.strip?.documents[0].document_id], [false, "c"]);
});

test("what has come is shown while more is asked for", async () => {
  const queue = new Queue(({ snapshot }) => (snapshot ? new Promise(() => {}) : Promise.resolve({ results: questions("a"), snapshot: "s", next_offset: 1 })));
  let told = 0;
  queue.addEventListener("change", () => (told += Number(queue.isKnown)));
  queue.fill();
  await come();

  assert.deepEqual([told > 0, queue.isAsking], [true, true]);
});

test("when the questions of a snapshot run out, it is asked anew by itself, whenever the last answer arrived", async () => {
  for (const isLate of [false, true]) {
    const { queue, asked } = served(["a b", true], [""], ["c"]);
    await queue.fill();
    const settled = [answer(queue), answer(queue)];
    if (isLate) await come();
    settled.forEach((one) => one());
    await come();

    assert.equal(queue.strip?.documents[0].document_id, "c");
    assert.deepEqual(asked, ["anew 0", "s 12", "anew 0"]);
  }
});

test("what is to be asked anew while something is asked is asked afterwards", async () => {
  const { queue, asked } = served(["a"], ["b"]);
  queue.fill();
  queue.renew();
  await come();

  assert.deepEqual(asked, ["anew 0", "anew 0"]);
});

test("after every fourth answer the rest is asked anew", async () => {
  const { queue, asked } = served(["a b c d e f g h i j k l"], ["m"]);
  await queue.fill();
  for (let one = 0; one < 4; one += 1) answer(queue)();
  await come();

  assert.equal(asked.length, 2);
  assert.equal(queue.strips.map((one) => one.documents[0].document_id).join(""), "abcdefgm");
});

test("nothing is asked about whose answer is on its way, and what was refused as a label may be asked about again", async () => {
  const { queue, ids } = served(["a b c"], ["a b"], ["a"]);
  await queue.fill();
  const settle = answer(queue);
  await queue.renew();
  assert.equal(ids(), "a b c");

  settle();
  await queue.renew();

  assert.equal(ids(), "a b c a");
});

test("what was X-ed out comes again when nothing else is left", async () => {
  const { queue, asked } = served(["abc d"], ["bc"], ["bc"]);
  await queue.fill();
  queue.strips[0].out = new Set(["b", "c"]);
  const settled = [answer(queue), answer(queue)];
  settled.forEach((one) => one());
  await come();

  assert.equal(asked.length, 3);
  assert.deepEqual(queue.strip?.documents.map((one) => one.document_id), ["b", "c"]);
});

test("what was skipped does not come again by itself, and is counted", async () => {
  const { queue } = served(["a b"], ["a"]);
  await queue.fill();
  queue.skip(queue.strips[0]);
  answer(queue)();
  await come();

  assert.deepEqual([queue.isOver, queue.skipped, queue.strip], [true, 1, undefined]);
});

test("a snapshot that the server keeps no more is asked anew", async () => {
  const { queue, asked } = served(["a", true], new Failure(404, "not_found", "no queue is kept"), ["b"]);
  await queue.fill();

  assert.deepEqual(asked, ["anew 0", "s 12", "anew 0"]);
  assert.equal(queue.trouble, "");
});

test("a queue that does not come says why, and comes when it is asked for again", async () => {
  const { queue } = served(new Failure(500, "internal", "it failed"), ["a"]);
  await queue.fill();
  assert.deepEqual([queue.trouble, queue.isKnown], ["it failed", false]);
  await queue.fill();

  assert.deepEqual([queue.trouble, queue.strip?.documents.length], ["", 1]);
});

test("an answer that is refused moves nobody, and is asked again when nothing else is left", async () => {
  const { queue } = served(["a b c"]);
  await queue.fill();
  const [first] = queue.strips;
  answer(queue);
  queue.refuse(first);
  assert.deepEqual([queue.at, first.state], [1, "open"]);
  answer(queue);
  answer(queue);

  assert.deepEqual([queue.at, queue.strip], [0, first]);
});

test("what somebody else has answered meanwhile is not asked again", async () => {
  const { queue } = served(["a"], [""]);
  await queue.fill();
  const [first] = queue.strips;
  answer(queue);
  queue.refuse(first, "Answered by somebody else");
  await come();

  assert.deepEqual([queue.strip, queue.isOver, queue.skipped, first.said], [undefined, true, 0, "Answered by somebody else"]);
});

test("a list that is given is never asked anew", async () => {
  let count = 0;
  const queue = new Queue(async () => ((count += 1), { results: questions("a b"), snapshot: "", next_offset: null }), { isFixed: true });
  await queue.fill();
  answer(queue)();
  answer(queue)();
  await queue.renew();

  assert.deepEqual([count, queue.strip], [1, undefined]);
});

test("news of a document are merged once, and older ones are not", async () => {
  const { queue } = served(["ab"]);
  await queue.fill();
  const news = new Map([["a", { label: "Cat", origin: "auto", revision: 2 }], ["b", { label: "Dog", origin: "auto", revision: 1 }]]);

  const changed = queue.merge(news, "label");

  assert.deepEqual([...changed], ["a"]);
  assert.deepEqual(queue.strips[0].documents.map((one) => one.labels.label.label), ["Cat", null]);
});

test("what was X-ed out is not meant", () => {
  const [question] = questions("ab");

  assert.deepEqual(meant({ ...question, key: "", at: 0, state: "open", said: "", operation: "", out: new Set(["a"]) }).map((one) => one.document_id), ["b"]);
});
