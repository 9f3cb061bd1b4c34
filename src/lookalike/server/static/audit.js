// Audit: can I trust it? A random sample of what labelled itself, checked one by one.

import { html, LitElement, nothing, ref } from "./vendor/lit.js";
import { act } from "./answers.js";
import { newId } from "./api.js";
import { byIds } from "./documents.js";
import { errorRate } from "./estimates.js";
import { between, inHundred } from "./figures.js";
import { labelTable, reach, whatMoreBrings, whisker, axis } from "./intervals.js";
import { hint } from "./keys.js";
import "./question.js";
import { bodyOf, progress, why, worded } from "./question.js";
import { api, here, keyboard, outbox, router, store } from "./session.js";
import { Follow } from "./store.js";
import { Stream } from "./stream.js";
import { face } from "./tile.js";
import { drop, tell } from "./toast.js";

const FETCHED = 60;
const SHOWN = 48;
const FEW_LEFT = 20;
const SIZES = [25, 50, 100, 200];

/** @typedef {import("./question.js").Said} Said */

class Audit extends LitElement {
  constructor() {
    super();
    new Follow(this, store);
    this.about = "";
    /** @type {any[] | null} */
    this.audits = null;
    /** @type {any} */
    this.audit = null;
    /** @type {any} */
    this.random = null;
    this.stream = new Stream((answers, settled) => this.#send(answers, settled), () => this.requestUpdate());
    /** @type {Map<string, any>} */
    this.documents = new Map();
    this.size = 50;
    this.strata = 1;
    this.label = "";
    this.isDrawing = false;
    this.path = "";
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    const ends = [
      keyboard.bind("everywhere", { undo: () => this.#takeBack(), fresh: () => this.#load() }),
      keyboard.bind("trust", { begin: () => this.#begin(), blind: () => this.#blind() }),
      keyboard.bind("decide", { why: () => this.#whyLast() }),
    ];
    const send = () => this.stream.flush(true);
    const undone = () => this.#load();
    addEventListener("pagehide", send);
    addEventListener("lk-undone", undone);
    this.end = () => {
      ends.forEach((one) => one());
      removeEventListener("pagehide", send);
      removeEventListener("lk-undone", undone);
    };
    this.about = "";
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.stream.flush(true);
    this.end?.();
  }

  get commands() {
    return [
      { name: "Draw another sample", run: () => this.#show(null, { open: true }) },
      { name: this.shows ? "Hide the label that is audited" : "Show the label that is audited", hint: hint("blind"), run: () => this.#blind() },
    ];
  }

  /** Whether the audited labels are shown. */
  get shows() {
    return router.route.params.shows === "1";
  }

  willUpdate() {
    const { collection, field } = store.state;
    const about = `${api.namespace}/${collection}/${field}`;
    if (!field || about === this.about) return;
    this.stream.clear();
    Object.assign(this, { about, audits: null, audit: null });
    this.#load();
  }

  /** Read which audits there are, and open the one of the address or the one that is under way. */
  async #load() {
    const { about } = this;
    const field = store.get("field");
    try {
      const [listed, random] = await Promise.all([api.get(here("/audits"), { field }), api.get(here("/analytics/error-rate"), { field })]);
      if (about !== this.about) return;
      Object.assign(this, { audits: listed.results, random });
      const asked = router.route.params.audit ?? this.audit?.audit_id;
      const open = listed.results.find((/** @type {any} */ one) => (asked ? one.audit_id === asked : !one.closed_at));
      if (open && !this.isDrawing) await this.#open(open.audit_id);
      this.requestUpdate();
    } catch (error) {
      refused(/** @type {Error} */ (error));
    }
  }

  /** @param {string} id */
  async #open(id) {
    const query = { limit: FETCHED, labels: this.shows ? true : "" };
    const found = await api.get(here(`/audits/${id}`), query).catch(refused);
    if (!found) return;
    if (this.audit?.audit_id !== id) this.stream.clear();
    this.stream.fill(found.next);
    await this.#take(found);
  }

  /** Show what an audit tells now. @param {any} audit */
  async #take(audit) {
    this.audit = audit;
    this.path = here(`/audits/${audit.audit_id}`);
    this.requestUpdate();
    const wanted = this.wrong.slice(0, SHOWN).flatMap((/** @type {any} */ one) => [one.document, one.source]);
    const missing = [...new Set(wanted)].filter((one) => one && !this.documents.has(one));
    if (!missing.length) return;
    (await byIds(missing)).forEach((one) => this.documents.set(one.document_id, one));
    this.requestUpdate();
  }

  /** Show one audit, or where another is drawn. @param {string | null} id @param {{open?: boolean}} [how] */
  async #show(id, { open = false } = {}) {
    this.stream.clear();
    Object.assign(this, { audit: null, isDrawing: open });
    router.set({ audit: id ?? "" });
    if (id) await this.#open(id);
    this.requestUpdate();
  }

  #begin() {
    if (this.audit && !this.audit.waiting && !this.audit.closed_at) return this.#close(true);
    if (!this.audit && this.audits) return this.#draw();
    return false;
  }

  async #draw() {
    try {
      const body = { size: this.size, strata: this.strata, label: this.label || null, field: store.get("field"), op_id: newId() };
      const drawn = await api.post(here("/audits"), body);
      router.set({ audit: drawn.audit_id });
      this.isDrawing = false;
      await this.#open(drawn.audit_id);
      await this.#load();
    } catch (error) {
      refused(/** @type {Error} */ (error));
    }
  }

  async #blind() {
    if (!this.audit || this.audit.closed_at) return;
    router.set({ shows: this.shows ? "" : "1" });
    await this.#open(this.audit.audit_id);
  }

  /** @param {Said} said */
  #said(said) {
    const { stream, audit } = this;
    stream.say(said);
    if (stream.queue.length < FEW_LEFT && audit.waiting > stream.answered.size + stream.queue.length) this.#open(audit.audit_id);
  }

  /** @type {import("./stream.js").Send} */
  #send(answers, settled) {
    const done = (/** @type {any} */ told) => {
      settled(true);
      if (told.audit_id === this.audit?.audit_id) this.#take(told);
    };
    outbox.add({ id: newId(), path: `${this.path}/answers`, body: bodyOf(answers), what: worded(answers[0].said), done, back: () => settled(false) });
  }

  #takeBack() {
    if (this.stream.takeBack()) return true;
    if (!this.audit || this.audit.closed_at || !this.stream.answered.size) return false;
    tell("An answer to an audit stays once the next one is given: who could change it later would measure nothing.", { id: "stays" });
    return true;
  }

  /** @param {boolean} keep */
  async #close(keep) {
    const id = this.audit.audit_id;
    this.stream.clear();
    const what = keep ? "closing the audit, its answers kept" : "closing the audit";
    const done = async () => {
      await this.#open(id);
      await this.#load();
    };
    act(here(`/audits/${id}/close`), { keep }, { what, done });
    drop("stays");
  }

  #whyLast() {
    const last = this.wrong.at(-1);
    if (last) why(last.document);
  }

  /** The wrong ones of the audit that is shown. @returns {any[]} */
  get wrong() {
    return (this.audit?.answered ?? []).filter((/** @type {any} */ one) => one.verdict === "wrong");
  }

  render() {
    if (!store.get("field")) return html`<div class="empty"><h1>Nothing to audit</h1><p>There is no collection with labels yet. <a href=${router.to("start")}>Start</a> makes one.</p></div>`;
    if (!this.audits) return html`<p class="empty dim">…</p>`;
    if (!this.audit) return html`<div class="wrap">${this.#drawing()} ${this.#earlier()}</div>`;
    const isOpen = !this.audit.closed_at;
    return html`<div class="wrap">
      ${this.#head(isOpen)} ${isOpen && this.stream.queue.length ? this.#asking() : nothing}
      ${isOpen && !this.stream.queue.length ? this.#ending() : nothing} ${this.#told()} ${this.#earlier()}
    </div>`;
  }

  #drawing() {
    const { checked, wrong } = this.random ?? { checked: 0, wrong: 0 };
    const report = store.get("report");
    const automatic = report ? report.labelled.auto : 0;
    const labels = Object.entries(report?.per_label ?? {}).filter(([, by]) => by.auto);
    if (report && !automatic) return html`<header class="top"><h1>Can I trust it?</h1></header>
      <p>Nothing has labelled itself yet, so there is nothing to audit. <a href=${router.to("review")}>Review</a> brings the first labels; <a href=${router.to("thresholds")}>Thresholds</a> says what is missing.</p>`;
    return html`<header class="top"><h1>Can I trust it?</h1></header>
      <section class="card draw" aria-label="Draw a sample">
        <p>Chance draws some of the ${automatic.toLocaleString()} labels that it gave by itself. You say what each item is, without seeing its label; how many are wrong follows, with an interval that holds.</p>
        <div class="row">
          <label>Check <select @change=${(/** @type {any} */ event) => (this.size = Number(event.target.value))}>${SIZES.map((one) => html`<option value=${one} ?selected=${one === this.size}>${one}</option>`)}</select></label>
          <label>of <select @change=${(/** @type {any} */ event) => (this.label = event.target.value)}><option value="">all labels</option>${labels.map(([name]) => html`<option ?selected=${name === this.label}>${name}</option>`)}</select></label>
          <label>drawn <select @change=${(/** @type {any} */ event) => (this.strata = Number(event.target.value))}><option value="1">evenly, to certify</option><option value="4">more where doubt is, to find errors</option></select></label>
          <button class="main" @click=${() => this.#draw()}>Draw the sample <kbd>${hint("begin")}</kbd></button>
        </div>
        <p class="dim">59 checks without a wrong one certify 95 %; with one wrong 93 do. Decide on the number before: a sample drawn again until one passes proves less than it says.</p>
      </section>
      ${checked ? html`<p class="dim">Answers that chance drew while you reviewed: ${errorRate(this.random)}, from ${checked.toLocaleString()} checked.</p>` : nothing}`;
  }

  /** @param {boolean} isOpen */
  #head(isOpen) {
    const { audit } = this;
    const { estimate } = audit;
    const most = reach([estimate]);
    const more = whatMoreBrings(audit);
    return html`<header class="top audit">
      <div><h1>${estimate.checked ? errorRate(estimate) : "Can I trust it?"}</h1>
        <p class="dim">${estimate.checked ? html`from ${estimate.checked.toLocaleString()} checked of ${estimate.size.toLocaleString()} labels${audit.cannot_tell ? html` · ${audit.cannot_tell} can't be told` : nothing}${more ? html` · ${more}` : nothing}` : html`${audit.waiting.toLocaleString()} items wait, drawn from ${estimate.size.toLocaleString()} labels`}</p>
        ${audit.at_least === null ? nothing : html`<p><b class="green">At least ${inHundred(Math.floor(audit.at_least * 1000) / 1000)} are right</b> <span class="dim">with 95 % confidence</span></p>`}</div>
      ${estimate.checked ? html`<div class="scale" role="img" aria-label=${`Between ${between(estimate)} are wrong`}>${whisker(estimate, most)}${axis(most)}</div>` : nothing}
      <p class="row">${isOpen ? html`<label class="check"><input type="checkbox" .checked=${this.shows} @change=${() => this.#blind()} /> Show its label <kbd>${hint("blind")}</kbd></label>` : html`<span class="pill">closed</span>`}
        <button class="quiet" @click=${() => this.#show(null, { open: true })}>Another sample</button></p>
    </header>
    ${isOpen && this.shows ? html`<p class="amber">You see what it said. A label that is shown persuades: trust the figure a little less.</p>` : nothing}`;
  }

  #asking() {
    const { audit, stream } = this;
    const [doc, ...next] = stream.queue;
    const done = audit.answered.filter((/** @type {any} */ one) => !stream.answered.has(one.document)).length + stream.answered.size;
    return html`<section class="card" aria-label="Check">
      ${progress(done, audit.unanswered + audit.answered.length, stream)}
      <lk-question .doc=${doc} .next=${next.slice(0, 3)} .offered=${this.shows ? (doc.label ?? "") : ""} .maySkip=${next.length > 0}
        @said=${(/** @type {CustomEvent} */ event) => this.#said(event.detail)} @skip=${() => stream.later()}></lk-question>
    </section>`;
  }

  #ending() {
    const { held } = this.stream;
    if (this.audit.waiting) return html`<p class="card dim" role="status">Your last answers are recorded in a moment. ${held ? html`${worded(held.said)} <button class="quiet" @click=${() => this.#takeBack()}>Take back <kbd>${hint("undo")}</kbd></button>` : nothing}</p>`;
    return html`<section class="card" aria-label="The end of the audit">
      <h2>All are answered</h2>
      <p>Close the audit, so that what it holds may vote. Kept answers become your labels, and “not this” for the wrong ones you did not name.</p>
      <div class="row"><button class="main" @click=${() => this.#close(true)}>Close, keep the answers <kbd>${hint("begin")}</kbd></button><button @click=${() => this.#close(false)}>Close, keep none</button></div>
    </section>`;
  }

  #told() {
    const { wrong, audit } = this;
    if (!audit.answered.length) return nothing;
    return html`${wrong.length ? html`<section aria-label="The wrong ones"><h2>${wrong.length === 1 ? "The wrong one" : `The ${wrong.length} wrong ones`}, and what caused them</h2>
        <ul class="wrong">${wrong.slice(0, SHOWN).map((one) => html`<li class="card">${this.#pair(one)}</li>`)}</ul>
        ${wrong.length > SHOWN ? html`<p class="dim">and ${wrong.length - SHOWN} more</p>` : nothing}</section>` : nothing}
      <section aria-label="By label"><h2>By label</h2>${labelTable(audit.labels)}</section>`;
  }

  /** @param {any} item */
  #pair(item) {
    const doc = this.documents.get(item.document);
    const source = this.documents.get(item.source);
    return html`<button class="picture" title="Why?" @click=${() => why(item.document)} aria-label=${`Why ${doc?.file_name ?? item.document}?`}>${doc ? face(doc) : "…"}</button>
      <div><p>It said <b>${item.label}</b>${item.truth ? html`; it is <b>${item.truth}</b>` : nothing}</p>
        <p class="dim">${item.confidence === null ? nothing : html`confidence ${item.confidence.toFixed(2)}`}</p>
        ${item.source ? html`<button class="quiet cause" @click=${() => why(item.document)}>Because of ${source?.file_name ?? item.source}</button>` : nothing}</div>
      ${source ? html`<button class="picture" title="Why this reference?" @click=${() => why(item.source)} aria-label=${`The reference ${source.file_name}`}>${face(source)}</button>` : nothing}`;
  }

  #earlier() {
    const others = (this.audits ?? []).filter((one) => one.audit_id !== this.audit?.audit_id);
    if (!others.length) return nothing;
    return html`<section aria-label="Earlier audits"><h2>${this.audit ? "Other audits" : "Earlier audits"}</h2>
      <ul class="list">${others.map((one) => html`<li><button class="quiet" @click=${() => this.#show(one.audit_id)}>
        <span>${new Date(one.at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}</span> <b>${errorRate(one.estimate)}</b>
        <span class="dim">${one.closed_at ? (one.at_least === null ? "closed" : `at least ${inHundred(Math.floor(one.at_least * 1000) / 1000)} right`) : one.unanswered ? `${one.unanswered} wait` : "not closed"}</span></button></li>`)}</ul></section>`;
  }
}
customElements.define("lk-audit", Audit);

/** @param {Error} error */
function refused(error) {
  tell(error.message, { kind: "bad", stays: true });
}
