// The strip of documents that were chosen on the map: named, rejected or left out as in Review.

import { html, LitElement, nothing } from "./vendor/lit.js";
import { cannotTell, label, newKind, promote, reject } from "./answers.js";
import { choose } from "./choose.js";
import { hint } from "./keys.js";
import { keyboard, knownLabels, slots, store } from "./session.js";
import { tile } from "./tile.js";
import { tell } from "./toast.js";
import "./view.js";

/**
 * What was chosen: all ids, the first documents as the API shows them, how many have which label, and
 * what paints their points.
 * @typedef {{ids: string[], documents: any[], most: {name: string | null, count: number}[], paint: (label: string) => () => void}} Choice
 */

export class Chosen extends LitElement {
  constructor() {
    super();
    /** @type {Choice | null} */
    this.choice = null;
    /** @type {Set<string>} */
    this.out = new Set();
    this.at = 0;
    /** @type {(() => void)[]} */
    this.ends = [];
  }

  createRenderRoot() {
    return this;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#unbind();
  }

  /** @param {Choice} choice */
  async open(choice) {
    this.#unbind();
    Object.assign(this, { choice, out: new Set(), at: 0 });
    const move = (/** @type {number} */ by) => () => this.#move(by);
    this.ends = [
      keyboard.bind("everywhere", { close: () => this.close() }),
      keyboard.bind("items", {
        left: move(-1), right: move(1), first: () => this.#move(-Infinity), last: () => this.#move(Infinity),
        toggle: () => this.#toggle(this.at), view: () => this.#look(),
      }),
      keyboard.bind("decide", {
        accept: () => this.#accept(), slot: (token) => this.#slot(Number(token)), same: () => (slots.last ? this.name(slots.last) : tell("No label was given here yet.")),
        label: () => this.#ask(), reject: () => this.#reject(), newKind: () => this.#say("a new category", newKind), cannotTell: () => this.#say("can't tell", cannotTell),
        skip: () => this.close(), why: () => this.#why(), promote: () => this.#promote(),
      }),
    ];
    this.requestUpdate();
    await this.updateComplete;
    /** @type {HTMLElement | null} */ (this.querySelector("[role=listbox]"))?.focus({ preventScroll: true });
  }

  close() {
    if (!this.choice) return false;
    this.#unbind();
    this.choice = null;
    this.requestUpdate();
    this.dispatchEvent(new Event("closed"));
  }

  #unbind() {
    for (const end of this.ends) end();
    this.ends = [];
  }

  /** The documents that are meant: all that were chosen, without those left out. */
  get meant() {
    const known = new Map((this.choice?.documents ?? []).map((one) => [one.document_id, one]));
    return (this.choice?.ids ?? []).filter((id) => !this.out.has(id)).map((id) => known.get(id) ?? { document_id: id });
  }

  /** The label that more than half of them have, or null: only that is one key away. */
  get answer() {
    const { choice } = this;
    const first = choice?.most.find((one) => one.name !== null);
    return choice && first && 2 * first.count > choice.ids.length ? first.name : null;
  }

  /** @param {number} by */
  #move(by) {
    const last = (this.choice?.documents.length ?? 1) - 1;
    this.at = Math.max(0, Math.min(last, this.at + by));
    this.requestUpdate();
    this.updateComplete.then(() => this.querySelector(".tile.here")?.scrollIntoView({ block: "nearest", inline: "nearest" }));
  }

  /** @param {number} place */
  #toggle(place) {
    const id = this.choice?.documents[place]?.document_id;
    if (!id) return;
    if (!this.out.delete(id)) this.out.add(id);
    this.requestUpdate();
  }

  #accept() {
    if (this.answer) this.name(this.answer);
    else this.#ask();
  }

  /** @param {number} digit */
  #slot(digit) {
    const name = slots.at(digit);
    if (name) this.name(name);
    else tell(`No label has the number ${digit} yet.`);
  }

  #ask() {
    const used = (/** @type {string} */ name) => (slots.of(name) ? String(slots.of(name)) : "");
    choose({
      title: `What are these ${this.meant.length.toLocaleString()}?`, placeholder: "Type a label",
      choices: knownLabels().map((name) => ({ name, hint: used(name) })),
      take: (name) => this.name(name), create: (name) => this.name(name),
    });
  }

  /** Say that all that are meant have a label. @param {string} name */
  name(name) {
    const { choice, meant } = this;
    if (!choice || !meant.length) return tell("All are left out.");
    const isWhole = this.out.size === 0;
    const back = isWhole ? choice.paint(name) : undefined;
    label(meant, name, { what: `${meant.length.toLocaleString()} × ${name}`, back });
    this.close();
  }

  /** Say that what is meant is not what most of it is called. */
  #reject() {
    const { answer } = this;
    if (!answer) return tell("None of these has a label that could be wrong.");
    this.#say(`not ${answer}`, (documents, how) => reject(documents, documents.map(() => answer), how));
  }

  #promote() {
    const { meant } = this;
    if (meant.length) promote(meant, { what: `${meant.length.toLocaleString()} used as references` });
    this.close();
  }

  /** @param {string} what @param {(documents: any[], how: {what: string}) => void} answer */
  #say(what, answer) {
    const { meant } = this;
    if (!meant.length) return tell("All are left out.");
    answer(meant, { what: `${meant.length.toLocaleString()} × ${what}` });
    this.close();
  }

  #why() {
    const doc = this.choice?.documents[this.at];
    if (doc) store.set({ drawer: "why", subject: doc.document_id });
  }

  #look() {
    const view = /** @type {any} */ (this.querySelector("lk-view"));
    const documents = this.choice?.documents ?? [];
    if (!documents.length) return false;
    view.open(documents[this.at], (/** @type {number} */ by) => {
      this.#move(by);
      return documents[this.at];
    });
  }

  render() {
    const { choice } = this;
    if (!choice) return nothing;
    const count = this.meant.length;
    const hidden = choice.ids.length - choice.documents.length;
    const told = choice.most.slice(0, 4).map((one) => `${one.count.toLocaleString()} ${one.name ?? "without a label"}`).join(", ");
    return html`<section class="chosen strip here" aria-label="Selected">
      <header class="row"><h2>${count === 1 ? "What is this?" : html`What are these ${count.toLocaleString()}?`}</h2><span class="dim">${told}${choice.most.length > 4 ? ", …" : ""}</span></header>
      <div class="tiles" role="listbox" aria-multiselectable="true" aria-label="Selected items" tabindex="0" aria-activedescendant=${choice.documents.length ? `map-tile-${this.at}` : nothing}>
        ${choice.documents.map((doc, place) => tile(doc, {
          id: `map-tile-${place}`, field: store.get("field"), isOut: this.out.has(doc.document_id), isHere: place === this.at, at: place + 1, of: choice.ids.length,
          onPick: () => (Object.assign(this, { at: place }), this.#toggle(place)),
        }))}
        ${hidden > 0 ? html`<p class="dim more" role="presentation">and ${hidden.toLocaleString()} more</p>` : nothing}
      </div>
      <div class="row commands">
        ${this.answer ? html`<button class="main" @click=${() => this.#accept()}>All are ${this.answer} <kbd>${hint("accept", "decide")}</kbd></button>` : nothing}
        <button class=${this.answer ? "" : "main"} @click=${() => this.#ask()}>${this.answer ? "Another label" : "Name them"} <kbd>${hint("label", "decide")}</kbd></button>
        ${this.answer ? html`<button @click=${() => this.#reject()}>None is <kbd>${hint("reject", "decide")}</kbd></button>` : nothing}
        <button @click=${() => this.#say("a new category", newKind)}>New category <kbd>${hint("newKind", "decide")}</kbd></button>
        <button @click=${() => this.#say("can't tell", cannotTell)}>Can't tell <kbd>${hint("cannotTell", "decide")}</kbd></button>
        <span class="spring"></span>
        <button class="quiet" @click=${() => this.#look()}>Look <kbd>${hint("view")}</kbd></button>
        <button class="quiet" @click=${() => this.#why()}>Why <kbd>${hint("why", "decide")}</kbd></button>
        <button class="quiet" @click=${() => this.close()}>Close <kbd>Esc</kbd></button>
      </div>
      <lk-view></lk-view>
    </section>`;
  }
}
customElements.define("lk-chosen", Chosen);
