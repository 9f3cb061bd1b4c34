// A strip: one question about one document, or about some that look alike.

import { html, nothing } from "./vendor/lit.js";
import { hint } from "./keys.js";
import { meant } from "./queue.js";
import { titleOf } from "./sheet.js";
import { isSheet } from "./sheets.js";
import { tile } from "./tile.js";

/**
 * @typedef {import("./queue.js").Strip} Strip
 * @typedef {{field: string, isHere: boolean, shows: boolean, changed: Set<string>, place: number,
 *   onPick: (place: number, event: MouseEvent) => void, onOpen: (place: number) => void}} How
 */

/** Return what a strip asks. @param {Strip} strip @param {boolean} shows whether it tells what the machine says of single ones */
function questionOf(strip, shows) {
  const many = strip.documents.length > 1;
  const answer = answerOf(strip, shows);
  if (isSheet(strip)) return titleOf(strip);
  if (answer) return many ? html`Are all of these <b>${answer}</b>?` : html`Is this <b>${answer}</b>?`;
  if (strip.opinions.length) return html`People disagree: ${opinionsOf(strip)}. What is it?`;
  if (strip.kind === "conflict") return html`Its nearest references disagree. What is this?`;
  if (many) return html`These look alike. What are they?${strip.place ? html` <span class="dim">Near ${strip.place}</span>` : nothing}`;
  return html`What is this?`;
}

/** Who says what of a strip. @param {Strip} strip */
export function opinionsOf(strip) {
  return strip.opinions.map((one, place) => html`${place ? ", " : ""}${one.actor} says <b>${one.label ?? one.answer ?? "not this"}</b>`);
}

/**
 * Return what Enter accepts, or null. What the machine says of a single document is hidden, unless
 * asked for: some of them were drawn by chance, to count how often it is right.
 * @param {Strip} strip @param {boolean} shows
 */
export function answerOf(strip, shows) {
  if (strip.suggestion) return strip.suggestion;
  if (!shows || strip.documents.length > 1) return null;
  const standing = Object.values(strip.documents[0].labels)[0];
  return standing?.label ?? null;
}

/** @param {Strip} strip @param {How} how */
export function stripView(strip, how) {
  const count = meant(strip).length;
  const isDone = strip.state !== "open";
  const many = strip.documents.length > 1;
  return html`<section class="strip ${how.isHere ? "here" : ""} ${strip.state}" aria-label=${`Question ${how.place + 1}`}>
    <header><h2>${isDone ? html`<span class=${strip.state === "said" ? "green" : "dim"}>${strip.said}</span>` : questionOf(strip, how.shows)}</h2>
      <span class="dim">${[many ? `${count} of ${strip.documents.length}` : "", strip.worth >= 1.5 ? `settles about ${Math.round(strip.worth)}` : ""].filter(Boolean).join(" · ")}</span></header>
    <div class="tiles ${many ? "" : "alone"}" role="listbox" aria-multiselectable="true" aria-label=${many ? "Items that look alike" : "The item"} tabindex=${how.isHere ? "0" : "-1"}
      aria-activedescendant=${how.isHere ? `tile-${strip.documents[strip.at].document_id}` : nothing}>
      ${strip.documents.map((doc, place) => tile(doc, {
        id: `tile-${doc.document_id}`, field: how.field, large: !many, isOut: strip.out.has(doc.document_id), isHere: how.isHere && many && place === strip.at,
        hides: !isDone && !how.shows, isNew: how.changed.has(doc.document_id), at: place + 1, of: strip.documents.length,
        onPick: (event) => how.onPick(place, event), onOpen: () => how.onOpen(place),
      }))}
    </div>
  </section>`;
}

/** The commands under the question that is asked. @param {{answer: string | null, run: (id: string) => void, many: boolean, isPair?: boolean, mayBeSame?: boolean}} how */
export function commandBar({ answer, run, many, isPair = false, mayBeSame = false }) {
  const button = (/** @type {string} */ id, /** @type {any} */ name, kind = "") => html`<button class=${kind} @click=${() => run(id)}>${name} <kbd>${hint(id)}</kbd></button>`;
  const another = button("label", answer ? "Another label" : many ? "Name them" : "Name it", answer || mayBeSame ? "" : "main");
  const refuse = answer ? button("reject", isPair ? "Not the same" : "Not this") : nothing;
  return html`<div class="row commands">
    ${answer ? button("accept", html`${isPair ? "The same" : "Yes"}, ${answer}`, "main") : mayBeSame ? button("accept", "The same", "main") : nothing}
    ${isPair ? [refuse, another] : [another, refuse]}
    ${button("newKind", "New category")} ${button("cannotTell", "Can't tell")} ${button("skip", "Skip")}
    <span class="spring"></span> ${button("view", "Look", "quiet")} ${button("why", "Why", "quiet")}
  </div>`;
}
