// What a person says: painted at once, sent in turn, and told with the automatic labels that followed.

import { api, here, knownLabels, live, outbox, router, ruleHere, slots, store } from "./session.js";
import { newId } from "./api.js";
import { drop, tell } from "./toast.js";
import { hint } from "./keys.js";

/**
 * A document as the API gives it; several, or how many what chooses them.
 * @typedef {any} Doc
 * @typedef {Doc[] | {filters: any}} Meant
 * @typedef {{what: string, back?: (failure: import("./api.js").Failure) => void, show?: () => void, done?: (answer: any) => void}} How
 */

/**
 * What was sent as one answer: `before` are the operations of all its parts but the last, which stands for them.
 * @typedef {{path: string, body: any}} Part
 * @typedef {{parts: Part[], what: string, before: string[]}} Done
 */

/** What was done in this tab, the latest last; `undone` what was taken back, to be done again. */
const log = { done: /** @type {string[]} */ ([]), undone: /** @type {Done[]} */ ([]) };
/** @type {Map<string, Done>} */
const said = new Map();

/** Say that documents are `label`; null takes back what was said. @param {Meant} meant @param {string | null} label @param {How & {asked?: boolean}} how */
export function label(meant, label, { asked = false, ...how }) {
  if (label !== null) slots.use(label);
  const field = store.get("field");
  if (!Array.isArray(meant)) return send("/labels", { filters: meant.filters, label, field }, how);
  const updates = meant.map((one) => ({ document_id: one.document_id, label, base_revision: one.labels?.[field]?.revision }));
  send("/labels", { updates, field, asked, ...adding([label]) }, how);
}

/** A label that was made on purpose is added to a closed set. @param {(string | null)[]} labels */
function adding(labels) {
  const { closed_set: isClosed = false, labels: declared = [] } = ruleHere() ?? {};
  const known = new Set([...declared, ...knownLabels()]);
  return isClosed && labels.some((one) => one !== null && !known.has(one)) ? { new_labels: true } : {};
}

/** Say what documents are not: the labels given, or else the one that each shows. @param {Meant} meant @param {(string | null)[] | null} labels @param {How} how */
export function reject(meant, labels, how) {
  const field = store.get("field");
  if (!Array.isArray(meant)) return send("/rejections", { filters: meant.filters, field }, how);
  send("/rejections", { rejections: meant.map((one, place) => ({ document_id: one.document_id, label: labels?.[place] ?? null })), field }, how);
}

/** Answer a sheet: all of its items that were named in one request, after what others are not. It is undone as one. @param {ReturnType<typeof import("./sheets.js").answersOf>} answer @param {How} how */
export function sheet({ labels, rejected, newKind: fresh, cannotTell: unclear }, how) {
  const field = store.get("field");
  const parts = /** @type {Part[]} */ ([]);
  const add = (/** @type {string} */ path, /** @type {any} */ body) => parts.push({ path: here(path), body: { ...body, field } });
  if (rejected.length) add("/rejections", { rejections: rejected.map(({ doc, label }) => ({ document_id: doc.document_id, label })) });
  if (fresh.length) add("/rejections/new-kind", { ...chosenBy(fresh), asked: true });
  if (unclear.length) add("/rejections/cannot-tell", { ...chosenBy(unclear), asked: true });
  if (labels.length) add("/labels", { updates: labels.map(({ doc, label }) => ({ document_id: doc.document_id, label, base_revision: doc.labels[field]?.revision })), asked: true, ...adding(labels.map((one) => one.label)) });
  sendAll(parts, how);
}

/** @param {Meant} meant @param {How} how */
export function newKind(meant, how) {
  send("/rejections/new-kind", { ...chosenBy(meant), asked: true }, how);
}

/** @param {Meant} meant @param {How} how */
export function cannotTell(meant, how) {
  send("/rejections/cannot-tell", { ...chosenBy(meant), asked: true }, how);
}

/** Let documents vote. @param {Meant} meant @param {How} how */
export function promote(meant, how) {
  send("/promotions", chosenBy(meant), how);
}

/** Say that references are not what they are called: what depended on them is decided again. @param {Meant} meant @param {Partial<How>} [how] */
export function demote(meant, how = {}) {
  const field = store.get("field");
  const what = "wrong reference";
  if (!Array.isArray(meant)) return reject({ filters: { AND: [meant.filters, { field: `labels.${field}.is_reference`, operator: "eq", value: true }] } }, null, { what, ...how });
  const voting = meant.filter((one) => one.labels[field]?.is_reference);
  if (!voting.length) return tell(`None of these is a reference. ${hint("why")} shows the references that an item is like.`);
  const [first] = voting;
  reject(voting, voting.map((one) => one.labels[field].label), { what: voting.length > 1 ? `${voting.length.toLocaleString()} × ${what}` : `${first.file_name || "the reference"} is not ${first.labels[field].label}`, ...how });
}

/** @param {Meant} meant */
function chosenBy(meant) {
  const field = store.get("field");
  return Array.isArray(meant) ? { document_ids: meant.map((one) => one.document_id), field } : { filters: meant.filters, field };
}

/** Do something else that can be undone. @param {string} path @param {any} body @param {How} how */
export function act(path, body, how) {
  send(null, body, how, path);
}

/** Let an operation that was done elsewhere in this tab be the next to be undone. @param {string} operation */
export function did(operation) {
  log.done.push(operation);
  live.catchUp();
}

/** Take back the latest thing done in this tab, and what labelled itself because of it. */
export async function undo() {
  await outbox.settled();
  const id = log.done.pop();
  if (!id) {
    tell(`Nothing was done here that could be undone. The history (${hint("history")}) has all operations.`);
    return false;
  }
  const known = said.get(id);
  await takeBack(id, known?.what ?? "the answer");
  if (known) log.undone.push(known);
  return true;
}

/** Take back an operation by its id. @param {string} operation @param {string} what */
export async function takeBack(operation, what) {
  const known = said.get(operation);
  try {
    const told = await api.post(`/operations/${operation}/undo`);
    let { ripple } = told;
    for (const one of [...(known?.before ?? [])].reverse()) ripple += (await api.post(`/operations/${one}/undo`)).ripple;
    log.done = log.done.filter((one) => one !== operation);
    window.dispatchEvent(new CustomEvent("lk-undone", { detail: { operation, told } }));
    const redo = known ? ` · ${hint("redo")} to do it again` : "";
    tell(`Taken back: ${what}${rippled(ripple)}${redo}`, { id: "answer" });
    live.catchUp();
  } catch (error) {
    tell(`It could not be taken back: ${/** @type {Error} */ (error).message}`, { kind: "bad", stays: true });
  }
}

/** Do again what was undone last. */
export function redo() {
  const last = log.undone.pop();
  if (!last) return tell("There is nothing to do again.");
  const again = (/** @type {any} */ body) => ({ ...body, updates: body.updates?.map((/** @type {any} */ one) => ({ ...one, base_revision: undefined })) });
  sendAll(last.parts.map(({ path, body }) => ({ path, body: again(body) })), { what: last.what });
}

/** @param {string | null} path @param {any} body @param {How} how @param {string} [whole] */
function send(path, body, how, whole = here(path ?? "")) {
  sendAll([{ path: whole, body }], how);
}

/** Send what is undone as one. Where its last part is refused, those before it can be undone. @param {Part[]} parts @param {How} how */
function sendAll(parts, { what, back, show, done }) {
  const told = /** @type {any[]} */ ([]);
  const note = () => {
    const ids = told.map((one) => one.operation_id);
    const last = /** @type {string} */ (ids.pop());
    said.set(last, { parts, what, before: ids });
    log.done.push(last);
  };
  parts.forEach((part, place) => {
    const isLast = place === parts.length - 1;
    /** @type {import("./store.js").Answer} */
    const sent = {
      ...part, id: newId(), what, show,
      rest: restOf,
      back: isLast ? (failure) => (told.length && note(), back?.(failure)) : undefined,
      done: (answer) => {
        told.push(answer);
        part.body = sent.body; // without what others had answered
        if (isLast) {
          note();
          announce(told);
          done?.(answer);
        }
        live.catchUp();
      },
    };
    outbox.add(sent);
  });
}

/** @param {any[]} answers of the server to the parts of one answer */
function announce(answers) {
  const sum = (/** @type {(one: any) => number} */ of) => answers.reduce((total, one) => total + of(one), 0);
  const mine = sum((one) => one.changed.by_person);
  const ripple = sum((one) => one.ripple);
  const refused = answers.flatMap((one) => Object.values(one.changed.refused ?? {}));
  if (refused.length && !mine) return tell(`Not done: ${refused[0]}`, { kind: "bad" });
  const actions = ripple
    ? [{ name: "See them", run: () => (drop("answer"), router.go("review", { view: "grid", tab: "changed", rev: String(answers[answers.length - 1].revision) })) }]
    : [];
  const itself = ripple ? `, ${ripple.toLocaleString()} automatic` : "";
  tell(`${mine.toLocaleString()} by you${itself} · ${hint("undo")} to undo`, { id: "answer", kind: "good", actions });
}

/** @param {number} ripple */
function rippled(ripple) {
  return ripple ? `, and ${ripple.toLocaleString()} that had changed because of it` : "";
}

/**
 * Return what is left of a body without the documents that other people have answered meanwhile, which is told; null
 * where nothing is left.
 * @param {import("./api.js").Failure} failure @param {any} body
 */
function restOf(failure, body) {
  const answers = failure.code === "stale" ? failure.details?.answers : null;
  if (!answers || !body.updates) return null;
  const [first] = Object.values(answers);
  const who = `${first.actor} answered ${body.updates.length > 1 ? `${Object.keys(answers).length.toLocaleString()} of them` : "it"} meanwhile: ${saidIn(first)}.`;
  const updates = body.updates.filter((/** @type {any} */ one) => !answers[one.document_id]);
  failure.message = `${who} It stays so; open it again if that is wrong.`;
  if (!updates.length) return null;
  tell(`${who} That stays so; your answer holds for the other ${updates.length.toLocaleString()}.`, { id: "meanwhile", stays: true });
  return { ...body, updates };
}

/** What a person said, in words. @param {{kind: string, label: string | null}} answer */
function saidIn({ kind, label }) {
  const words = { labelled: label, rejected: `not ${label}`, new_kind: "a new category", cannot_tell: "can't tell", retracted: "no label" };
  return words[/** @type {keyof typeof words} */ (kind)];
}
