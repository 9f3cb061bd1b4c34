// The one of each that all parts of the page share, and what they tell each other.

import { api, collections as askedFirst } from "./first.js";
import { Keyboard } from "./keys.js";
import { Live } from "./live.js";
import { Router } from "./router.js";
import { Slots } from "./slots.js";
import { Outbox, Store } from "./store.js";
import { drop, tell } from "./toast.js";

export { api };
export const router = new Router(window);
export const keyboard = new Keyboard();
export const live = new Live(api);
export const outbox = new Outbox((path, body) => api.post(path, body), { storage: sessionStorage });

/**
 * `collections` as the API gives them, null before they came; `collection` the name of the one that
 * is shown and `field` its label field; `report` its coverage; `link` how news come; `waiting` how
 * many answers are on their way; `drawer` "", "why" or "history"; `subject` the document it is about.
 */
export const store = new Store({
  collections: null, collection: "", field: "", report: null, link: "asking", waiting: 0,
  isCut: false, drawer: "", subject: "", trouble: "", needsKey: false,
});

/** The slots of the field that is shown. */
export let slots = new Slots("", new Map());

/** Return the path of what belongs to the collection that is shown. @param {string} path */
export function here(path) {
  return `/collections/${encodeURIComponent(store.get("collection"))}${path}`;
}

/** Return the rule of the field that is shown, as the API gives it. @returns {any} */
export function ruleHere() {
  const { collections, collection, field } = store.state;
  const shown = collections?.find((/** @type {any} */ one) => one.collection_name === collection);
  return shown?.fields.find((/** @type {any} */ one) => one.field === field);
}

/** Return the names of the labels that are known, the most used first. @returns {string[]} */
export function knownLabels() {
  const counts = Object.entries(store.get("report")?.per_label ?? {});
  const total = (/** @type {any} */ by) => Object.values(by).reduce((sum, one) => sum + Number(one), 0);
  return counts.sort((a, b) => total(b[1]) - total(a[1])).map(([name]) => name);
}

/** @type {Promise<any> | null} */
let early = askedFirst;

/** Read which collections there are, choose the one of the address, and follow what happens. */
export async function open() {
  api.namespace = router.route.params.ns ?? "";
  try {
    const told = (await early) ?? (await api.get("/collections", { limit: 200 }));
    store.set({ collections: told.results, trouble: "" });
  } catch (error) {
    store.set({ trouble: /** @type {Error} */ (error).message });
    throw error;
  } finally {
    early = null;
  }
  choose();
  const { revision } = await api.get("/changes", { since: 2 ** 52 });
  live.start(revision);
  outbox.run();
}

/** Take collection and field from the address, or the first that there are. */
export function choose() {
  const { collections } = store.state;
  if (!collections) return;
  const { c, field } = router.route.params;
  const chosen = collections.find((/** @type {any} */ one) => one.collection_name === c) ?? collections.find((/** @type {any} */ one) => one.fields.length) ?? collections[0];
  const name = chosen?.collection_name ?? "";
  const fields = (chosen?.fields ?? []).map((/** @type {any} */ one) => one.field);
  const own = fields.includes(field) ? field : (fields[0] ?? "");
  if (name === store.get("collection") && own === store.get("field")) return;
  slots = new Slots(`${api.namespace}/${name}/${own}`, localStorage);
  store.set({ collection: name, field: own, report: null });
  refresh();
}

const PAUSE_MS = 300;
let isAsking = false;
let isWanted = false;

/** Read the counters again; asked for while it reads, once more a little after that. */
export async function refresh() {
  isWanted = true;
  if (isAsking) return;
  isAsking = true;
  while (isWanted) {
    isWanted = false;
    const { collection, field } = store.state;
    if (!collection || !field) break;
    try {
      const report = await api.get(here("/analytics/coverage"), { field });
      if (collection !== store.get("collection")) continue;
      store.set({ report });
      slots.offer(knownLabels());
    } catch (error) {
      if (/** @type {any} */ (error).status !== 0) tell(/** @type {Error} */ (error).message, { kind: "bad" });
    }
    if (isWanted) await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
  isAsking = false;
}

router.addEventListener("change", choose);
live.addEventListener("changed", () => refresh());
live.addEventListener("refetch", () => refresh());
live.addEventListener("state", () => store.set({ link: live.state }));
outbox.addEventListener("change", () => store.set({ waiting: outbox.waiting.length }));
outbox.addEventListener("cut", () => {
  store.set({ isCut: outbox.isCut });
  if (outbox.isCut) tell("No connection. What you answer is kept here, and sent when it is back.", { kind: "wait", id: "cut", stays: true });
  else tell("The connection is back; your answers are sent.", { kind: "good", id: "cut" });
});
outbox.addEventListener("refused", (event) => {
  const { answer, failure } = /** @type {CustomEvent} */ (event).detail;
  const said = failure.status >= 500
    ? `The server failed (${failure.status}), so “${answer.what}” was not recorded. Nothing else is lost: answer again, and look into its log if it goes on.`
    : `“${answer.what}” was not recorded: ${failure.message}`;
  const actions = answer.show ? [{ name: "Show it", run: () => (drop(answer.id), answer.show()) }] : [];
  tell(said, { kind: "bad", stays: true, id: answer.id, actions });
});
window.addEventListener("beforeunload", (event) => {
  if (outbox.waiting.length) event.preventDefault();
});
