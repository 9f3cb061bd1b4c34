// One document as it is shown among others: its picture or words, its label, who gave it.

import { html, nothing, ref } from "./vendor/lit.js";
import { isText, load, textOf } from "./pictures.js";

/** The marks of who said a label; colour never says it alone. */
const MARKS = { human: "✓", import: "✓", promoted: "↑", auto: "⟲" };

/** @param {any} standing of a field of a document */
export function markOf(standing) {
  if (!standing) return "";
  if (standing.label === null || standing.label === undefined) return standing.answer ? "·" : "?";
  return MARKS[/** @type {keyof typeof MARKS} */ (standing.origin)] ?? "";
}

/** What stands in a field, in words. @param {any} standing */
export function wordsOf(standing) {
  if (!standing) return "";
  if (standing.answer === "new_kind") return "new category";
  if (standing.answer === "cannot_tell") return "can't tell";
  return standing.label ?? "no label";
}

/**
 * @typedef {{id: string, field: string, isOut?: boolean, isHere?: boolean, isSelected?: boolean, isNew?: boolean, hides?: boolean, shows?: string, flag?: string, isBad?: boolean, large?: boolean, tone?: string,
 *   at?: number, of?: number, onPick?: (event: MouseEvent) => void, onOpen?: () => void}} How
 */

/** Return a tile, an option of a listbox. @param {any} doc @param {How} how */
export function tile(doc, how) {
  const standing = doc.labels?.[how.field];
  const shown = how.hides ? "" : (how.shows ?? (standing?.label ? `${markOf(standing)} ${standing.label}` : ""));
  const names = [doc.file_name || doc.document_id, shown, how.flag, how.isOut ? "left out" : ""].filter(Boolean).join(", ");
  const classes = ["tile", how.isOut ? "out" : "", how.isHere ? "here" : "", how.isNew ? "wash" : "", how.large ? "large" : "", isText(doc) ? "wordy" : ""].join(" ");
  return html`<div class=${classes} role="option" id=${how.id} aria-label=${names} aria-selected=${how.isSelected ?? !how.isOut}
    aria-posinset=${how.at ?? nothing} aria-setsize=${how.of ?? nothing} @click=${how.onPick ?? nothing} @dblclick=${how.onOpen ?? nothing}>
    ${face(doc)}${how.flag ? html`<span class="flag ${how.isBad ? "bad" : ""}">${how.flag}</span>` : nothing}${shown ? html`<span class="mark ${how.tone ?? standing?.origin ?? ""}">${shown}</span>` : nothing}${how.isOut ? html`<span class="cross" aria-hidden="true">✕</span>` : nothing}
  </div>`;
}

/** The picture or the words of a document. @param {any} doc */
export function face(doc) {
  if (isText(doc)) return html`<p class="words" ${ref((element) => fill(element, doc))}></p>`;
  return html`<img alt="" decoding="async" draggable="false" ${ref((element) => load(element, doc.thumbnail_url))} />`;
}

/** @param {Element | undefined} element @param {any} doc */
async function fill(element, doc) {
  if (!element || element.getAttribute("data-of") === doc.document_id) return;
  element.setAttribute("data-of", doc.document_id);
  const told = Object.entries(doc.metadata ?? {}).filter(([name, value]) => !(name in (doc.labels ?? {})) && typeof value === "string");
  element.textContent = told.map(([, value]) => value).join(" · ").slice(0, 200) || doc.file_name;
  const words = await textOf(doc).catch(() => "");
  if (words && element.getAttribute("data-of") === doc.document_id) element.textContent = words;
}
