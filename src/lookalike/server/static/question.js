// One question at a time: a document, large, and the ways to say what it is. Nothing tells what the machine says.

import { html, LitElement, nothing, ref } from "./vendor/lit.js";
import { choose } from "./choose.js";
import { hint } from "./keys.js";
import { isText, largeOf, load, prefetch, textOf } from "./pictures.js";
import { keyboard, knownLabels, slots, store } from "./session.js";
import { tell } from "./toast.js";

/** @typedef {{label?: string, verdict?: "right" | "wrong" | "new_kind" | "cannot_tell"}} Said */

/**
 * Asks about `doc`; what is said comes as an event `said` with a `Said`. `offered` is a label to be
 * called right or wrong; without it the label is named. `mayBeNew` offers "a new category", `maySkip` "skip".
 */
class Question extends LitElement {
  static properties = { doc: { attribute: false }, next: { attribute: false }, offered: {}, mayBeNew: { type: Boolean }, maySkip: { type: Boolean } };

  constructor() {
    super();
    /** @type {any} */
    this.doc = null;
    /** @type {any[]} */
    this.next = [];
    this.offered = "";
    this.mayBeNew = false;
    this.maySkip = false;
    this.words = "";
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    if (!slots.labels.some(Boolean)) knownLabels().slice(0, 9).forEach((one) => slots.use(one));
    const verdict = (/** @type {Said["verdict"]} */ said) => () => this.#say({ verdict: said });
    this.end = keyboard.bind("decide", {
      slot: (token) => this.#name(slots.at(Number(token))),
      same: () => this.#name(slots.last),
      label: () => this.#type(),
      accept: () => Boolean(this.offered) && verdict("right")(),
      reject: () => Boolean(this.offered) && verdict("wrong")(),
      newKind: () => this.mayBeNew && verdict("new_kind")(),
      cannotTell: verdict("cannot_tell"),
      skip: () => this.maySkip && this.dispatchEvent(new CustomEvent("skip")),
    });
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.end?.();
  }

  /** @param {Said} said */
  #say(said) {
    if (this.doc) this.dispatchEvent(new CustomEvent("said", { detail: said }));
  }

  /** @param {string | null} label */
  #name(label) {
    if (label === null) return tell(`No label has that number yet. Type one with ${hint("label")}.`, { id: "slot" });
    slots.use(label);
    return this.#say({ label });
  }

  #type() {
    const take = (/** @type {string} */ name) => this.#name(name);
    choose({
      title: "What is it?", placeholder: "A few letters, then Enter",
      choices: knownLabels().map((name) => ({ name, hint: slots.of(name) ? String(slots.of(name)) : "" })), take, create: take,
    });
  }

  /** @param {Map<string, any>} changed */
  updated(changed) {
    if (!changed.has("doc") || !this.doc) return;
    this.next.forEach((one) => prefetch(largeOf(one)));
    const doc = this.doc;
    if (isText(doc)) textOf(doc).then((words) => doc === this.doc && ((this.words = words || doc.file_name), this.requestUpdate()), () => {});
  }

  render() {
    const { doc, offered } = this;
    if (!doc) return nothing;
    const button = (/** @type {string} */ id, /** @type {any} */ name, /** @type {() => unknown} */ run, kind = "") =>
      html`<button class=${kind} @click=${run}>${name} <kbd>${hint(id, "decide")}</kbd></button>`;
    return html`<div class="question">
      <div class="stage">${isText(doc) ? html`<pre class="words" tabindex="0">${this.words}</pre>` : html`<img alt=${doc.file_name || "The item"} decoding="async" ${ref((image) => load(image, largeOf(doc)))} />`}</div>
      <div class="answers">
        ${offered ? html`<h2>Is this <b>${offered}</b>?</h2><div class="row">${button("accept", "Right", () => this.#say({ verdict: "right" }), "main")} ${button("reject", "Wrong", () => this.#say({ verdict: "wrong" }))}</div>
          <p class="dim">If you know what it is instead, name it:</p>` : html`<h2>What is this?</h2>`}
        <ol class="slots" aria-label="Labels by number">${slots.labels.map((label, place) => (label ? html`<li><button @click=${() => this.#name(label)}><kbd>${place + 1}</kbd> ${label}</button></li>` : nothing))}</ol>
        <div class="row">
          ${button("label", "Type a label", () => this.#type(), offered ? "" : "main")}
          ${this.mayBeNew ? button("newKind", "New category", () => this.#say({ verdict: "new_kind" })) : nothing}
          ${button("cannotTell", "Can't tell", () => this.#say({ verdict: "cannot_tell" }))}
          ${this.maySkip ? button("skip", "Later", () => this.dispatchEvent(new CustomEvent("skip"))) : nothing}
        </div>
        <p class="dim file">${doc.file_name || doc.document_id}</p>
      </div>
    </div>`;
  }
}
customElements.define("lk-question", Question);

/** Return what somebody said, in words. @param {Said} said */
export function worded({ label, verdict }) {
  return label ?? { right: "right", wrong: "wrong", new_kind: "a new category", cannot_tell: "can't tell" }[verdict ?? "right"];
}

/** Return answers as the API takes them: labels by id, and ids by what else was said. @param {import("./stream.js").Answer[]} answers */
export function bodyOf(answers) {
  /** @type {Record<string, any>} */
  const body = { labels: {} };
  for (const { doc, said } of answers) {
    if (said.label) body.labels[doc.document_id] = said.label;
    else (body[said.verdict ?? "cannot_tell"] ??= []).push(doc.document_id);
  }
  return body;
}

/** Return how far a stream of questions is, and the answer that can still be taken back. @param {number} done @param {number} total @param {import("./stream.js").Stream} stream */
export function progress(done, total, stream) {
  const { held } = stream;
  return html`<div class="row progress"><progress max=${total} value=${done} aria-label="Answered"></progress><span>${done} of ${total}</span><span class="spring"></span>
    ${held ? html`<span class="dim">${held.doc.file_name}: ${worded(held.said)}</span><button class="quiet" @click=${() => stream.takeBack()}>Take back <kbd>${hint("undo")}</kbd></button>` : nothing}</div>`;
}

/** Open the Why panel. @param {string | null} id */
export function why(id) {
  if (id) store.set({ drawer: "why", subject: id });
}
