// Two side by side: a document, and the reference that it may be like. Large, so that differences show.

import { html, LitElement, nothing } from "./vendor/lit.js";
import { apart, nearestOfEach } from "./compare.js";
import { byIds, referencesById } from "./documents.js";
import { hint } from "./keys.js";
import { isText, largeOf, prefetch, textOf } from "./pictures.js";
import { api, here, live, store } from "./session.js";
import { Follow, Hear } from "./store.js";
import { markOf } from "./tile.js";
import { staged } from "./view.js";

const GIVEN = { human: "said by", import: "imported by", promoted: "promoted by", auto: "by itself" };
const MOST = 4;
const SHORT = 240;
const LARGEST = 8;
const STEP = 1.5;

/** Another document, what it is called, and how that came about. @typedef {{doc: any, label: string | null, said: string}} Other */

/** Return the document and the words of each of what a document may be like. @param {any} doc @param {string} beside the id of a document to be compared with, or "" @returns {Promise<Other[]>} */
async function othersOf(doc, beside) {
  const field = store.get("field");
  if (beside) {
    const [other] = await byIds([beside]);
    const standing = other?.labels[field];
    return other ? [{ doc: other, label: standing?.label ?? null, said: standing?.label ? `${GIVEN[/** @type {keyof typeof GIVEN} */ (standing.origin)]} ${standing.origin === "auto" ? "" : (standing.actor ?? "")}` : "no label" }] : [];
  }
  const why = await api.get(here(`/documents/${encodeURIComponent(doc.document_id)}/why`), { field });
  const { label, origin: giver, suggestion, rejected = [] } = doc.labels[field] ?? {};
  const proposed = giver && giver !== "auto" ? null : (label ?? suggestion);
  const near = nearestOfEach(why.witnesses.filter((/** @type {any} */ one) => one.match.document_id !== doc.document_id && !rejected.includes(one.match.label)), proposed).slice(0, MOST);
  const found = await referencesById(near.map((one) => one.match.document_id));
  return near.flatMap(({ match, origin, actor, at }) => {
    const other = found.get(match.document_id);
    return other ? [{ doc: other, label: match.label, said: `${GIVEN[/** @type {keyof typeof GIVEN} */ (origin)]} ${actor}, ${new Date(at).toLocaleDateString()} · ${match.similarity.toFixed(2)} alike` }] : [];
  });
}

/** Shows `doc` beside what it may be like, or beside the document with the id `beside`; `next` come after it. */
class Pair extends LitElement {
  static properties = { doc: { attribute: false }, next: { attribute: false }, beside: {} };

  constructor() {
    super();
    new Follow(this, store);
    new Hear(this, live, ["changed"], () => this.known.clear());
    /** @type {any} */
    this.doc = null;
    /** @type {any[]} */
    this.next = [];
    this.beside = "";
    /** @type {Map<string, Promise<Other[]>>} */
    this.known = new Map();
    /** @type {Other[] | null} null while they are asked for */
    this.others = null;
    this.at = 0;
    this.of = "";
    this.trouble = "";
    this.isWhole = false;
    this.zoom = 1;
    /** @type {Map<string, string>} */
    this.words = new Map();
  }

  createRenderRoot() {
    return this;
  }

  /** What it is compared with. @returns {Other | undefined} */
  get other() {
    return this.others?.[this.at];
  }

  /** @param {any} doc */
  #ask(doc) {
    const id = doc.document_id;
    const found = this.known.get(id) ?? othersOf(doc, this.beside);
    this.known.set(id, found);
    return found;
  }

  willUpdate() {
    const { doc, beside } = this;
    const of = `${store.get("collection")}/${store.get("field")}/${doc?.document_id}/${beside}`;
    if (!doc || of === this.of) return;
    Object.assign(this, { of, others: null, at: 0, trouble: "", zoom: 1 });
    this.#open(of, doc);
  }

  /** @param {string} of @param {any} doc */
  async #open(of, doc) {
    try {
      const others = await this.#ask(doc);
      if (of === this.of) this.others = others;
    } catch (error) {
      if (of === this.of) this.trouble = /** @type {Error} */ (error).message;
    }
    this.requestUpdate();
    this.dispatchEvent(new Event("known"));
    if (this.beside) return;
    for (const one of this.next) {
      prefetch(largeOf(one));
      this.#ask(one).then((others) => others[0] && prefetch(largeOf(others[0].doc)), () => this.known.delete(one.document_id));
    }
  }

  /** Ask anew what the document may be like. */
  again() {
    this.known.clear();
    this.of = "";
    this.requestUpdate();
  }

  /** Go to the reference of another label. @param {number} by */
  turn(by) {
    const count = this.others?.length ?? 0;
    if (count < 2) return false;
    this.at = (this.at + by + count) % count;
    this.dispatchEvent(new Event("known"));
    this.requestUpdate();
  }

  /** Show the parts, or the wholes that they are from. */
  crop() {
    if (![this.doc, this.other?.doc].some((one) => one?.attributes?.box)) return false;
    this.isWhole = !this.isWhole;
    this.requestUpdate();
  }

  /** Show both larger, at the same place. @param {number} by a step */
  enlarge(by) {
    this.zoom = Math.max(1, Math.min(LARGEST, this.zoom * STEP ** by));
    this.requestUpdate();
  }

  /** Let what is enlarged follow the pointer, on both sides alike. @param {PointerEvent} event */
  #point(event) {
    const pane = /** @type {HTMLElement} */ (event.currentTarget);
    const { left, top, width, height } = pane.getBoundingClientRect();
    const place = `${((event.clientX - left) / width) * 100}% ${((event.clientY - top) / height) * 100}%`;
    for (const one of this.querySelectorAll(".stage")) /** @type {HTMLElement} */ (one).style.transformOrigin = place;
  }

  updated() {
    for (const one of this.querySelectorAll(".stage")) /** @type {HTMLElement} */ (one).style.transform = this.zoom > 1 ? `scale(${this.zoom})` : "";
    for (const doc of [this.doc, this.other?.doc]) if (doc && isText(doc) && !this.words.has(doc.document_id)) this.#read(doc);
  }

  /** @param {any} doc */
  async #read(doc) {
    this.words.set(doc.document_id, "");
    this.words.set(doc.document_id, (await textOf(doc).catch(() => "")) || doc.file_name);
    this.requestUpdate();
  }

  render() {
    const { doc, other, others, trouble } = this;
    if (!doc) return nothing;
    const mine = doc.labels[store.get("field")];
    return html`<div class="panes">
      <figure aria-label="The item">${this.#pane(doc, other?.doc)}<figcaption><b>${doc.file_name || doc.document_id}</b> ${this.beside && mine?.label ? html`<span class="dim">${markOf(mine)} ${mine.label}</span>` : nothing}</figcaption></figure>
      <figure aria-label="What it may be like">${other ? this.#pane(other.doc, doc) : html`<div class="pane none"><p class="dim">${trouble || (others ? "No reference is near it." : "…")}</p></div>`}
        <figcaption>${other ? html`<b>${other.label ?? (other.doc.file_name || "no label")}</b> <span class="dim">${other.said}</span>${this.#labels()}` : nothing}</figcaption></figure>
    </div>`;
  }

  /** The labels whose nearest references can be shown instead. */
  #labels() {
    const { others, at } = this;
    if (!others || others.length < 2) return nothing;
    return html`<span class="spring"></span><span class="row" role="group" aria-label="Compare with">${others.map((one, place) => html`<button class="quiet" aria-pressed=${place === at} @click=${() => this.turn(place - at)}>${(one.label ?? "").split(" > ").at(-1)}</button>`)} <kbd>${hint("left")}</kbd><kbd>${hint("right")}</kbd></span>`;
  }

  /** @param {any} doc @param {any} other */
  #pane(doc, other) {
    if (!isText(doc)) return html`<div class="pane ${this.isWhole && doc.attributes?.box ? "whole" : ""}" @pointermove=${this.#point}>${staged(doc, this.isWhole)}</div>`;
    const words = this.words.get(doc.document_id) ?? "";
    const pieces = apart(words, (other && this.words.get(other.document_id)) ?? "");
    return html`<pre class="pane words ${words.length < SHORT ? "short" : ""}" tabindex="0"><span>${pieces.map((one) => (one.isOnly ? html`<mark>${one.text}</mark>` : one.text))}</span></pre>`;
  }
}
customElements.define("lk-pair", Pair);
