// Thresholds: how strict? A limit to be dragged, what it would give, what would flip, and a trial of it.

import { html, LitElement, nothing } from "./vendor/lit.js";
import { newId } from "./api.js";
import { curveChart } from "./charts.js";
import { bandOf, exact, limitFor, pointAt } from "./estimates.js";
import { between, inHundred } from "./figures.js";
import { hint } from "./keys.js";
import { why } from "./question.js";
import { api, here, keyboard, router, ruleHere, store } from "./session.js";
import { Follow } from "./store.js";
import { tile } from "./tile.js";
import { tell } from "./toast.js";
import "./trial.js";

const PAUSE_MS = 120;
const SHOWN = 24;
const STEP = 0.01;
const LEAP = 0.05;

class Thresholds extends LitElement {
  constructor() {
    super();
    new Follow(this, store);
    this.about = "";
    /** @type {any} what the field is like: {curve, limit, policy, random, audit, trials} */
    this.told = null;
    this.at = 1;
    /** @type {number | null} a target that was asked for, instead of a limit */
    this.target = null;
    /** @type {any} */
    this.flips = null;
    this.timer = 0;
    /** @type {AbortController | null} */
    this.asked = null;
    this.isBusy = false;
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    const by = (/** @type {number} */ step) => () => this.#canMove && this.#move(this.at + step);
    const fresh = () => this.#load();
    const refresh = keyboard.bind("everywhere", { fresh });
    const end = keyboard.bind("trust", {
      stricter: by(STEP), looser: by(-STEP), muchStricter: by(LEAP), muchLooser: by(-LEAP), loosest: by(-2), strictest: by(2),
      asItIs: () => this.#canMove && this.#move(this.now),
      begin: () => this.#canMove && this.#try(),
    });
    addEventListener("lk-undone", fresh);
    this.end = () => (end(), refresh(), removeEventListener("lk-undone", fresh));
    this.about = "";
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.end?.();
    clearTimeout(this.timer);
    this.asked?.abort();
  }

  get commands() {
    return this.#canMove ? [{ name: "Try this limit", hint: hint("begin"), run: () => this.#try() }, { name: "Back to the limit in force", hint: hint("asItIs"), run: () => this.#move(this.now) }] : [];
  }

  /** The trial that is open, if any. */
  get trial() {
    return this.told?.trials.find((/** @type {any} */ one) => one.state === "open");
  }

  /** The limit in force; 1 where nothing is labelled by itself. */
  get now() {
    return rounded(this.told?.limit ?? 1);
  }

  /** The limit that is asked about: that in force in all its digits. */
  get #exact() {
    return this.at === this.now ? (this.told.limit ?? 1) : this.at;
  }

  get #canMove() {
    return Boolean(this.told && !this.trial);
  }

  get #byProbability() {
    return Boolean(this.told?.policy.startsWith("precision"));
  }

  /** Whether counts are near: a label above the one asked for may be given instead, which no curve knows. */
  get #isRough() {
    return this.#byProbability && ruleHere()?.hierarchical && Object.keys(store.get("report")?.per_label ?? {}).some((name) => name.includes(" > "));
  }

  willUpdate() {
    const { collection, field } = store.state;
    const about = `${api.namespace}/${collection}/${field}`;
    if (!field || about === this.about) return;
    Object.assign(this, { about, told: null, flips: null });
    this.#load();
  }

  async #load() {
    const { about } = this;
    const field = store.get("field");
    try {
      const asking = ["/analytics/curve", "/analytics/error-rate", "/audits", "/trials"].map((path) => api.get(here(path), { field }));
      const [curve, random, audits, trials] = await Promise.all(asking);
      const even = audits.results.find((/** @type {any} */ one) => one.estimate.checked);
      const audit = even ? await api.get(here(`/audits/${even.audit_id}`), { limit: 0 }) : null;
      if (about !== this.about) return;
      this.told = { curve: curve.points, limit: curve.limit > 1 ? null : curve.limit, policy: curve.policy, random, audit, trials: trials.results };
      this.band = audit && audit.strata.length === 1 ? bandOf(audit.answered, audit.strata[0].low) : [];
      const { at } = router.route.params;
      this.#move(at ? Number(at) : this.now);
    } catch (error) {
      tell(/** @type {Error} */ (error).message, { kind: "bad" });
    }
  }

  /** Let the limit stand at a value; what flips is asked for when it rests. @param {number} value @param {number | null} [target] */
  #move(value, target = null) {
    this.at = rounded(value);
    this.target = target;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.#ask(), PAUSE_MS);
    this.requestUpdate();
    return true;
  }

  /** @param {number} share */
  #aim(share) {
    const limit = limitFor(this.told.curve, share);
    if (limit === null) tell(`No limit makes ${inHundred(share)} right, as it sees itself now.`);
    else this.#move(limit, share);
  }

  async #ask() {
    router.set({ at: this.at === this.now ? "" : String(this.at) });
    this.asked?.abort();
    this.asked = new AbortController();
    const query = { field: store.get("field"), limit: SHOWN, ...(this.target === null ? { at: this.#exact } : { target_precision: this.target }) };
    try {
      this.flips = await api.get(here("/analytics/flips"), query, { signal: this.asked.signal });
      if (this.target !== null) this.at = Math.round(Math.min(this.flips.at, 1) * 1e4) / 1e4;
      this.requestUpdate();
    } catch (error) {
      if (/** @type {Error} */ (error).name !== "AbortError") tell(/** @type {Error} */ (error).message, { kind: "bad" });
    }
  }

  /** Save the limit as a challenger, in shadow. */
  async #try() {
    if (this.isBusy) return;
    if (this.at === this.now) {
      tell("This is the limit in force: move it first.");
      return;
    }
    this.isBusy = true;
    this.requestUpdate();
    try {
      if (!this.flips || (this.target === null && this.flips.at !== this.at)) await this.#ask();
      const rule = this.#byProbability ? { target_precision: this.target ?? this.flips.target_precision } : { confidence_threshold: this.at };
      if (rule.target_precision === null) tell(`At ${this.at.toFixed(2)} nothing would be labelled, so there is nothing to try: take a looser limit.`);
      else await api.post(here("/trials"), { ...rule, field: store.get("field"), op_id: newId() });
      await this.#load();
    } catch (error) {
      tell(/** @type {Error} */ (error).message, { kind: "bad", stays: true });
    }
    this.isBusy = false;
    this.requestUpdate();
  }

  render() {
    if (!store.get("field")) return html`<div class="empty"><h1>No limit yet</h1><p>There is no collection with labels yet. <a href=${router.to("start")}>Start</a> makes one.</p></div>`;
    if (!this.told) return html`<p class="empty dim">…</p>`;
    const { trial, told } = this;
    const isSure = told.curve.some((/** @type {any} */ one) => one.labelled);
    return html`<div class="wrap">
      <header class="top"><div><h1>How strict?</h1>${this.#state()}</div></header>
      ${trial ? html`<lk-trial .id=${trial.trial_id} @ended=${() => this.#load()}></lk-trial>` : nothing}
      ${isSure ? this.#charts() : html`<p>It is not sure of anything yet, so no limit would label anything. <a href=${router.to("review")}>Review</a> brings the first labels.</p>`}
      ${trial || !isSure ? nothing : html`${this.#flipping()} ${this.#perLabel()}`} ${this.#earlier()}
    </div>`;
  }

  #state() {
    const report = store.get("report");
    if (!report) return nothing;
    const target = report.target_precision === null ? "" : `; the target: ${inHundred(report.target_precision)} right`;
    return html`<p class="dim">${this.told.limit === null ? "No limit is in force: it suggests only" : `The limit in force is ${this.told.limit.toFixed(2)}`}${target}. Only people's labels vote, whatever the limit.
      ${report.missing.length ? html`<br />To do better: ${report.missing.join("; ")}.` : nothing}</p>`;
  }

  /** @param {import("./estimates.js").Point} point */
  #words({ labelled, coverage, precision }) {
    const right = precision === null ? "" : `, of which ${inHundred(precision)} may be right`;
    return `${labelled.toLocaleString()} labelled by itself${right}; ${inHundred(coverage)} have a label`;
  }

  #charts() {
    const { curve, random, limit } = this.told;
    const point = pointAt(curve, this.at);
    const checked = this.band?.find((/** @type {any} */ one) => one.limit <= this.at + 1e-9);
    const own = this.#canMove;
    return html`<section class="card" aria-label="The limit">
      <div class="row axis"><h2>How sure it is ${this.#byProbability ? "(as a probability)" : "(as a similarity)"}</h2><span class="spring"></span>${legend()}</div>
      <lk-limit .curve=${curve} .now=${limit} .at=${this.at} .words=${`${this.at.toFixed(2)}: ${this.#words(point)}`} @limit=${(/** @type {CustomEvent} */ event) => own && this.#move(event.detail)}></lk-limit>
      <div class="row">${this.#byProbability && own ? html`<label>Of 100 labels <input class="target" type="number" min="50" max="99.9" step="0.5" .value=${String(Math.floor(1000 * (this.target ?? point.precision ?? 0.95)) / 10)} @change=${(/** @type {any} */ event) => this.#aim(event.target.valueAsNumber / 100)} /> shall be right</label>` : nothing}
        <span class="spring"></span>
        ${own ? html`<button @click=${() => this.#move(this.now)} ?disabled=${this.at === this.now}>As it is <kbd>${hint("asItIs")}</kbd></button>
          <button class="main" ?disabled=${this.at === this.now || this.isBusy} @click=${() => this.#try()}>Save as a challenger <kbd>${hint("begin")}</kbd></button>` : html`<span class="dim">A trial is open; the limit moves again when it has ended.</span>`}</div>
    </section>
    <section class="card two" aria-label="What it gives">
      ${curveChart({ curve, at: this.at, now: limit, band: this.band ?? [], random })}
      <div><h2>At ${this.at.toFixed(2)}</h2>
        <p class="big">${this.#count(point)} <span class="dim">labelled by itself${this.#change(point)}</span></p>
        <p class="big">${inHundred(point.coverage)} <span class="dim">have a label</span></p>
        ${point.precision === null ? (this.#byProbability ? nothing : html`<p class="dim">A similarity tells nothing of how many are right: an audit does.</p>`) : html`<p class="big">${inHundred(point.precision)} <span class="dim">may be right: its own estimate</span></p>`}
        ${checked ? html`<p><b>${inHundred(checked.right / checked.checked)} right</b> (${between(checked)}) <span class="dim">from ${checked.checked} checked in the latest audit</span></p>` : nothing}
        ${random.checked ? html`<p class="dim">The mark at the limit in force: ${inHundred(1 - random.rate)} right (${between({ low: 1 - random.high, high: 1 - random.low })}), from ${random.checked.toLocaleString()} checked by chance.</p>` : nothing}
        ${this.band?.length && !checked ? html`<p class="dim">The band ends where nothing was checked: what would be new here has no figure yet.</p>` : nothing}
        ${this.band?.length ? nothing : html`<p class="dim">No band yet: nothing was checked in an even sample. <a href=${router.to("audit")}>Audit</a> some.</p>`}</div>
    </section>`;
  }

  /** Where the limit is as it is, what there is was counted. @param {import("./estimates.js").Point} point */
  #count({ labelled }) {
    const counted = this.at === this.now ? store.get("report")?.labelled.auto : undefined;
    return counted === undefined ? `${this.#isRough ? "about " : ""}${labelled.toLocaleString()}` : counted.toLocaleString();
  }

  /** @param {import("./estimates.js").Point} point */
  #change(point) {
    const { flips } = this;
    const seen = this.told.limit === null ? 0 : pointAt(this.told.curve, this.now).labelled;
    const by = flips?.at === this.#exact ? flips.appear - flips.vanish : point.labelled - seen;
    return by ? `, ${this.#isRough ? "about " : ""}${Math.abs(by).toLocaleString()} ${by > 0 ? "more" : "fewer"} than now` : ", as now";
  }

  #flipping() {
    const { flips } = this;
    if (!flips) return nothing;
    const parts = [["appear", "would get a label", "comes"], ["vanish", "would lose their label", "goes"]];
    if (!flips.appear && !flips.vanish) return html`<p class="dim" role="status">Nothing would flip at ${this.at.toFixed(2)}. Drag the limit, or press ${hint("looser")} and ${hint("stricter")}.</p>`;
    return parts.map(([name, words, kind]) => {
      const docs = flips.documents.filter((/** @type {any} */ one) => (one.after !== null) === (name === "appear"));
      return flips[name] ? html`<section aria-label=${words}><h2><span class="key ${kind}"></span>${flips[name].toLocaleString()} ${words}</h2>
        <div class="tiles flips" role="listbox" tabindex="0" aria-label=${`Items that ${words}`}>${docs.map((/** @type {any} */ doc, /** @type {number} */ place) => tile(doc, {
          id: `flip-${doc.document_id}`, field: "", shows: `${(doc.after ?? doc.before).split(" > ").at(-1)} · ${doc.confidence.toFixed(2)}`, isSelected: false, at: place + 1, of: flips[name], onPick: () => why(doc.document_id),
        }))}</div>${docs.length < flips[name] ? html`<p class="dim">and ${(flips[name] - docs.length).toLocaleString()} more</p>` : nothing}</section>` : nothing;
    });
  }

  #perLabel() {
    const report = store.get("report");
    if (!report) return nothing;
    const { appearing = {}, vanishing = {} } = this.flips ?? {};
    const checks = this.told.audit?.labels ?? {};
    const names = [...new Set([...Object.keys(report.per_label), ...Object.keys(appearing)])];
    const rows = names.map((name) => ({ name, now: report.per_label[name]?.auto ?? 0, up: appearing[name] ?? 0, down: vanishing[name] ?? 0, check: checks[name] }));
    const shown = rows.filter((one) => one.now || one.up).sort((a, b) => b.up + b.down - a.up - a.down || b.now - a.now);
    if (!shown.length) return nothing;
    return html`<section aria-label="By label"><h2>By label</h2><table class="figures">
      <thead><tr><th scope="col">Label</th><th scope="col" class="number">by itself now</th><th scope="col" class="number">would get it</th><th scope="col" class="number">would lose it</th><th scope="col">right, in the latest audit</th></tr></thead>
      <tbody>${shown.map(({ name, now, up, down, check }) => html`<tr><th scope="row">${name}</th><td class="number">${now.toLocaleString()}</td>
        <td class="number up">${up ? `+${up.toLocaleString()}` : ""}</td><td class="number down">${down ? `−${down.toLocaleString()}` : ""}</td>
        <td>${check?.checked ? html`${inHundred(1 - check.rate)} <span class="dim">(${between(exact(check.checked - check.wrong, check.checked))}) from ${check.checked} checked</span>` : html`<span class="dim">not checked</span>`}</td></tr>`)}</tbody></table></section>`;
  }

  #earlier() {
    const ended = this.told.trials.filter((/** @type {any} */ one) => one.state !== "open");
    if (!ended.length) return nothing;
    return html`<section aria-label="Earlier trials"><h2>Earlier trials</h2><ul class="list trials">${ended.map((/** @type {any} */ one) => html`<li>
      <span>${new Date(one.at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}</span> <b>${ruleWords(one.rule)}</b> <span class="pill">${one.state.replace("_", " ")}</span> <span class="dim">${one.verdict}</span></li>`)}</ul></section>`;
  }
}
customElements.define("lk-thresholds", Thresholds);

/** @param {any} rule */
export function ruleWords(rule) {
  if (rule.confidence_threshold !== null) return `limit ${rule.confidence_threshold.toFixed(2)}`;
  if (rule.target_precision !== null) return `${inHundred(rule.target_precision)} right`;
  return Object.entries(rule).filter(([, value]) => value !== null).map(([name, value]) => `${name.replace("_", " ")} ${value}`).join(", ");
}

/** Return a limit from 0 to 1 in the digits in which limits are shown and moved. @param {number} value */
function rounded(value) {
  return Math.round(Math.min(Math.max(value, 0), 1) * 1e4) / 1e4;
}

function legend() {
  const keys = [["in", "labelled"], ["comes", "would get a label"], ["goes", "would lose it"], ["out", "waits for you"]];
  return html`<ul class="row legend">${keys.map(([kind, words]) => html`<li><span class="key ${kind}"></span>${words}</li>`)}</ul>`;
}
