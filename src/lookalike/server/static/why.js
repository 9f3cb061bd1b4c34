// Why: the references that caused a label or a null, and what would be without them.

import { html, LitElement, nothing } from "./vendor/lit.js";
import * as answers from "./answers.js";
import { referencesById } from "./documents.js";
import { inHundred } from "./figures.js";
import { hint } from "./keys.js";
import { api, here, keyboard, live, store } from "./session.js";
import { Follow, Hear } from "./store.js";
import { face, markOf } from "./tile.js";

const SHOWN = 6;
/** Why there is no label, in words. */
const REASONS = {
  no_references: "there are no references yet",
  below_threshold: "the nearest references are not similar enough",
  too_close: "two labels are about equally likely",
  conflict: "its nearest references disagree",
  rejected: "a person rejected this label",
  low_quality: "its quality is too low",
  extraction_failed: "it could not be read",
};
const GIVEN = { human: "labelled by", import: "imported by", promoted: "promoted by", auto: "automatic" };

class Why extends LitElement {
  constructor() {
    super();
    new Follow(this, store);
    new Hear(this, live, ["changed"], () => this.#read(true));
    /** @type {any} */
    this.why = null;
    /** @type {Map<string, any>} */
    this.documents = new Map();
    this.of = "";
    this.trouble = "";
    this.at = 0;
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.end = keyboard.bind("decide", { why: () => store.set({ drawer: "" }), demote: () => this.#demote(this.#witnesses()[0]), promote: () => this.#promote() });
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.end?.();
  }

  willUpdate() {
    this.#read();
  }

  async #read(again = false) {
    const { subject, field, collection } = store.state;
    const of = `${collection}/${field}/${subject}`;
    if (!subject || (of === this.of && !again)) return;
    this.of = of;
    try {
      const why = await api.get(here(`/documents/${encodeURIComponent(subject)}/why`), { field });
      const witnesses = why.witnesses.slice(0, SHOWN);
      const documents = await referencesById([subject, ...witnesses.map((/** @type {any} */ one) => one.match.document_id), ...(why.counterfactual ? [why.counterfactual.without] : [])]);
      if (of !== this.of) return;
      Object.assign(this, { why, trouble: "", documents });
    } catch (error) {
      Object.assign(this, { why: null, trouble: /** @type {Error} */ (error).message });
    }
    this.requestUpdate();
  }

  /** @returns {any[]} */
  #witnesses() {
    return (this.why?.witnesses ?? []).slice(0, SHOWN);
  }

  /** Say that a reference is not what it is said to be: what depended on it is decided again. @param {any} witness */
  #demote(witness) {
    const doc = witness && this.documents.get(witness.match.document_id);
    if (!doc) return;
    answers.reject([doc], [witness.match.label], { what: `${doc.file_name || "the reference"} is not ${witness.match.label}`, done: () => this.#read(true) });
  }

  #promote() {
    const { subject } = store.state;
    answers.promote([{ document_id: subject }], { what: "used as a reference", done: () => this.#read(true) });
  }

  render() {
    const { why, trouble } = this;
    const doc = this.documents.get(store.get("subject"));
    return html`<aside class="drawer why" aria-label="Why">
      <header><h2>Why?</h2><button class="quiet" @click=${() => store.set({ drawer: "" })}>Close <kbd>${hint("why")}</kbd></button></header>
      ${trouble ? html`<p class="trouble">${trouble}</p>` : nothing}
      ${why && doc ? this.#told(why, doc) : trouble ? nothing : html`<p class="dim">…</p>`}
    </aside>`;
  }

  /** @param {any} why @param {any} doc */
  #told(why, doc) {
    const { standing } = why;
    const { decision } = standing;
    const witnesses = this.#witnesses();
    const certain = standing.origin === "human" || standing.origin === "import";
    return html`<p class="said"><span class="mark-of">${markOf(standing)}</span> <b>${standing.label ?? "No label:"}</b>
        <span class="dim">${standing.label ? `${GIVEN[/** @type {keyof typeof GIVEN} */ (standing.origin)]} ${standing.origin === "auto" ? "" : standing.actor ?? ""}` : REASONS[/** @type {keyof typeof REASONS} */ (decision?.reason)] ?? "nobody has labelled it"}</span></p>
      ${decision && !certain ? this.#numbers(decision) : nothing}
      ${why.counterfactual ? this.#without(why.counterfactual) : nothing}
      ${why.quotes ? html`<h3>Words that are alike</h3><blockquote>${why.quotes.here.text}</blockquote><p class="dim">in the reference:</p><blockquote>${why.quotes.there.text}</blockquote>` : nothing}
      <h3>${witnesses.length ? "The nearest references" : "No reference is near"}</h3>
      <ol class="witnesses">${witnesses.map((one) => this.#witness(one, doc))}</ol>
      ${standing.origin === "auto" ? html`<p class="row"><button @click=${() => answers.reject([doc], [standing.label], { what: `not ${standing.label}` })}>It is not ${standing.label}</button><button @click=${() => this.#promote()}>Use it as a reference <kbd>${hint("promote")}</kbd></button></p>` : nothing}`;
  }

  /** @param {any} decision */
  #numbers(decision) {
    const { confidence, threshold, margin, runner_up: second, policy } = decision;
    const isLikeness = policy.startsWith("threshold");
    const reached = threshold !== null && threshold <= 1;
    return html`${confidence === null ? nothing : html`<div class="meter" role="img" aria-label=${`${confidence.toFixed(2)} of 1${reached ? `, the threshold is ${threshold.toFixed(2)}` : ""}`}>
        ${bar("fill", confidence)}${reached ? bar("limit", threshold) : nothing}</div>`}
      <dl class="facts"><div><dt>${isLikeness ? "similarity" : "probability"}</dt><dd>${confidence === null ? "–" : isLikeness ? confidence.toFixed(2) : inHundred(confidence)}</dd></div>
        <div><dt>threshold</dt><dd>${reached ? (isLikeness ? threshold.toFixed(2) : inHundred(threshold)) : "none yet"}</dd></div>
        ${margin === null || margin === undefined ? nothing : html`<div><dt>margin</dt><dd>${margin.toFixed(2)}</dd></div>`}
        ${second ? html`<div><dt>or else</dt><dd>${second}</dd></div>` : nothing}</dl>`;
  }

  /** @param {any} told */
  #without(told) {
    const doc = this.documents.get(told.without);
    return html`<p>Without ${doc ? html`<b>${doc.file_name}</b>` : "its main reference"} it would be <b>${told.label ?? "without a label"}</b>.</p>`;
  }

  /** @param {any} witness @param {any} doc */
  #witness(witness, doc) {
    const reference = this.documents.get(witness.match.document_id);
    const when = new Date(witness.at).toLocaleDateString();
    return html`<li><div class="pair"><div class="tile">${face(doc)}</div><div class="tile">${reference ? face(reference) : nothing}</div></div>
      <div><b>${witness.match.label}</b><br /><span class="dim">${witness.match.similarity.toFixed(2)} alike · ${inHundred(witness.match.share)} of the evidence<br />${GIVEN[/** @type {keyof typeof GIVEN} */ (witness.origin)]} ${witness.actor}, ${when}</span><br />
      <button class="quiet" @click=${() => this.#demote(witness)} aria-label=${`${witness.file_name} is a wrong reference for ${witness.match.label}`}>Wrong reference</button></div></li>`;
  }
}

/** @param {string} name @param {number} share */
function bar(name, share) {
  const where = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return html`<span class=${name} .style=${name === "limit" ? `left:${where}` : `width:${where}`}></span>`;
}

customElements.define("lk-why", Why);
