// A sheet as it is shown: its items by label, what confirming them brings, and the commands under it.

import { html, nothing } from "./vendor/lit.js";
import { hint } from "./keys.js";
import { isText } from "./pictures.js";
import { countsOf, groupsOf, moreOf, toldOf } from "./sheets.js";
import { tile } from "./tile.js";

/**
 * @typedef {import("./queue.js").Strip} Strip
 * @typedef {{field: string, changed: Set<string>, place: number, run: (id: string) => void,
 *   onPick: (place: number) => void, onOpen: (place: number) => void}} How
 */

const TITLES = { check: "Are these labels right?", suspect: "These labels look wrong. Keep or correct them", names: "By the names of your labels: are these right?" };
const VERDICTS = { out: "not this", new_kind: "new category", cannot_tell: "can't tell" };

/** Return the question that a sheet asks. @param {Strip} sheet */
export function titleOf(sheet) {
  return TITLES[/** @type {keyof typeof TITLES} */ (sheet.kind)];
}

/** @param {Strip} sheet @param {How} how */
export function sheetView(sheet, how) {
  const isDone = sheet.state !== "open";
  const groups = groupsOf(sheet);
  const words = sheet.documents.every(isText);
  const things = words ? "texts" : "items";
  return html`<section class="strip checks here ${sheet.state}" aria-label=${`Question ${how.place + 1}`}>
    <header><h2>${isDone ? html`<span class=${sheet.state === "said" ? "green" : "dim"}>${sheet.said}</span>` : titleOf(sheet)}</h2>
      <span class="dim">${sheet.documents.length} ${things} · ${groups.length} ${groups.length > 1 ? "labels" : "label"}</span></header>
    ${isDone ? nothing : html`<p class="promise">${promise(sheet)}</p>`}
    <div class="tiles cells ${words ? "texts" : ""}" role="listbox" aria-multiselectable="true" aria-label=${titleOf(sheet)} tabindex="0"
      aria-activedescendant=${`tile-${sheet.documents[sheet.at].document_id}`}>
      ${groups.map((group) => html`<div class="group" role="group" aria-label=${`${group.label ?? "No label"}, ${group.kept} of ${group.count}`}>
        ${sheet.documents.slice(group.start, group.start + group.count).map((_, at) => cell(sheet, group, at, how))}
      </div>`)}
    </div>
    ${isDone ? nothing : commands(sheet, how.run)}
  </section>`;
}

/** One item, the first of a group under its heading. @param {Strip} sheet @param {ReturnType<typeof groupsOf>[number]} group @param {number} at @param {How} how */
function cell(sheet, group, at, how) {
  const place = group.start + at;
  const doc = sheet.documents[place];
  const mark = sheet.marks.get(doc.document_id);
  const told = mark ? ("label" in mark ? `✓ ${mark.label.split(" > ").at(-1)}` : VERDICTS[mark.verdict]) : "";
  const isOut = Boolean(mark && !("label" in mark));
  return html`<div class="cell ${at ? "" : "first"} ${at === group.count - 1 ? "end" : ""}" role="presentation">
    <p class="of" role="presentation" aria-hidden="true" title=${group.label ?? nothing}>${at ? nothing : heading(group)}</p>
    ${tile(doc, {
      id: `tile-${doc.document_id}`, field: how.field, isOut, isSelected: !isOut, isHere: place === sheet.at, isNew: how.changed.has(doc.document_id),
      hides: !told, shows: told, tone: isOut ? "" : "human", at: place + 1, of: sheet.documents.length,
      onPick: () => how.onPick(place), onOpen: () => how.onOpen(place),
    })}
  </div>`;
}

/** @param {ReturnType<typeof groupsOf>[number]} group */
function heading({ label, count, kept }) {
  const parts = (label ?? "No label").split(" > ");
  const leaf = parts.pop();
  return html`<b>${leaf}</b><span class="count">${kept < count ? `${kept} of ${count}` : count}</span>${parts.length ? html`<span class="path">${parts.join(" > ")}</span>` : nothing}`;
}

/** What confirming brings, or what is about to be said. @param {Strip} sheet */
function promise(sheet) {
  const { out } = countsOf(sheet);
  if (sheet.marks.size) return html`<b>${toldOf(sheet)}.</b>${out ? " What you drop is asked about again." : ""}`;
  if (sheet.kind === "suspect") return "Until you answer they are not used as references.";
  if (sheet.kind === "names") return "These become references. First drop what is wrong, or name it.";
  const [count, more] = [sheet.documents.length, moreOf(sheet)];
  const these = count > 1 ? `these ${count}` : "this one";
  return more >= 1 ? html`Confirm ${these} and <b>about ${Math.round(more).toLocaleString()} more</b> get their label. <span class="dim">First drop what is wrong, or name it.</span>` : `Confirm ${these}. First drop what is wrong, or name it.`;
}

/** @param {Strip} sheet @param {(id: string) => void} run */
function commands(sheet, run) {
  const { kept, named } = countsOf(sheet);
  const button = (/** @type {string} */ id, /** @type {any} */ name, kind = "", scope = "") => html`<button class=${kind} @click=${() => run(id)}>${name} <kbd>${hint(id, scope || undefined)}</kbd></button>`;
  const verb = sheet.kind === "suspect" ? "Keep" : "Confirm";
  const main = !sheet.marks.size ? (kept > 1 ? `${verb} all ${kept}` : verb) : kept ? `${verb} the other ${kept}` : named ? "Save" : "None is right";
  return html`<div class="row commands">
    ${button("accept", main, "main", "decide")}
    ${button("toggle", "Not this")} ${button("label", "Name it")} ${button("newKind", "New category")} ${button("cannotTell", "Can't tell")} ${button("skip", "Skip")}
    <span class="spring"></span> ${button("view", "Look", "quiet")} ${button("why", "Why", "quiet")}
  </div>`;
}
