// Documents by what chooses them, as the API lists them.

import { api, here, ruleHere, store } from "./session.js";

const PARTS = ["object_id", "part", "file_name", "sha256", "metadata", "attributes", "document_blobs", "thumbnail_url"];
const OF_LABELS = ["label", "origin", "actor", "answer", "is_reference", "suggestion", "revision"];
const MOST_PARTS = 100;

/** What the page shows of the documents of a list: not what each was compared with, most of its size. @returns {string[]} */
export function parts() {
  const { collections, collection, field } = store.state;
  const own = collections.find((/** @type {any} */ one) => one.collection_name === collection)?.fields ?? [];
  const fields = new Set([field, ...own.map((/** @type {any} */ one) => one.field)]);
  return [...PARTS, ...[...fields].flatMap((one) => OF_LABELS.map((part) => `labels.${one}.${part}`))].slice(0, MOST_PARTS);
}

/** Return documents by their ids, in that order. @param {string[]} ids @param {string} [home] the path of their collection @returns {Promise<any[]>} */
export async function byIds(ids, home = here("")) {
  if (!ids.length) return [];
  const wanted = [...new Set(ids)];
  const select = home === here("") ? { select: parts() } : {};
  const told = await api.post(`${home}/documents/list`, { filters: { field: "document_id", operator: "in", value: wanted }, limit: wanted.length, ...select });
  const found = new Map(told.results.map((/** @type {any} */ one) => [one.document_id, one]));
  return ids.map((id) => found.get(id)).filter((one) => one !== undefined);
}

/** Return references by their ids, by id: also those of a curated collection. @param {string[]} ids @returns {Promise<Map<string, any>>} */
export async function referencesById(ids) {
  const found = await byIds(ids);
  const known = new Set(found.map((one) => one.document_id));
  const others = ids.filter((id) => !known.has(id));
  if (others.length) found.push(...(await byIds(others, `/collections/${encodeURIComponent(ruleHere().reference_collection_id)}`)));
  return new Map(found.map((one) => [one.document_id, one]));
}

/** Return the documents nearest to one, the nearest first. @param {string} id @param {number} count @returns {Promise<any[]>} */
export async function nearTo(id, count) {
  const collection = store.get("collection");
  const told = await api.post("/retrievers/execute", {
    collection_identifiers: [collection], limit: count,
    stages: [{ stage_type: "feature_search", top_k: count, query: { document_ref: { document_id: id, collection_id: collection } } }],
  });
  return told.results;
}

/** Return the ids of the documents that one operation changed by itself. @param {number} revision @returns {Promise<string[]>} */
export async function changedBy(revision) {
  const field = store.get("field");
  const told = await api.get("/changes", { since: revision - 1, limit: 1000 });
  return told.documents.filter((/** @type {any} */ one) => one.revision === revision && one.field === field && one.origin === "auto").map((/** @type {any} */ one) => one.document_id);
}
