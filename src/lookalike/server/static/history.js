// History: what happened, with the automatic labels that followed; each step can be taken back.

import { html, LitElement, nothing } from "./vendor/lit.js";
import { takeBack } from "./answers.js";
import { shown } from "./keys.js";
import { api, here, live, router, store } from "./session.js";
import { Follow, Hear } from "./store.js";

const SHOWN = 100;
const KINDS = {
  add: "brought in", label: "labelled", reject: "said “not this”", new_kind: "called a new category", cannot_tell: "could not tell",
  promote: "used as references", import: "imported labels", undo: "took back", run: "changed the rule", amend: "changed metadata", draw: "drew regions", audit: "drew an audit", extract: "read",
};

class History extends LitElement {
  constructor() {
    super();
    new Follow(this, store);
    new Hear(this, live, ["changed"], () => this.#read(true));
    /** @type {any[] | null} */
    this.operations = null;
    this.of = "";
    this.asks = "";
    this.trouble = "";
  }

  createRenderRoot() {
    return this;
  }

  willUpdate() {
    this.#read();
  }

  async #read(again = false) {
    const { collection } = store.state;
    if (!collection || (collection === this.of && !again)) return;
    this.of = collection;
    try {
      Object.assign(this, { operations: (await api.get(here("/operations"), { limit: SHOWN })).results, trouble: "" });
    } catch (error) {
      this.trouble = /** @type {Error} */ (error).message;
    }
    this.requestUpdate();
  }

  /** Take back all that was done since, the latest first, and the operation itself. @param {any} until */
  async #revert(until) {
    this.asks = "";
    const place = this.operations?.indexOf(until) ?? -1;
    const since = (this.operations ?? []).slice(0, place + 1).filter(canGo);
    for (const one of since) await takeBack(one.id, wordsOf(one));
    this.#read(true);
  }

  render() {
    const operations = /** @type {any[]} */ (this.operations ?? []);
    return html`<aside class="drawer history" aria-label="History">
      <header><h2>History</h2><button class="quiet" @click=${() => store.set({ drawer: "" })}>Close <kbd>${shown("h")}</kbd></button></header>
      ${this.trouble ? html`<p class="trouble">${this.trouble}</p>` : nothing}
      ${operations.length ? html`<ol>${together(operations).map(({ one, times }) => this.#operation(one, times))}</ol>` : html`<p class="dim">${this.operations ? "Nothing has happened yet." : "…"}</p>`}
      ${operations.length >= SHOWN ? html`<p class="dim">The latest ${SHOWN}.</p>` : nothing}
    </aside>`;
  }

  /** @param {any} one @param {number} times */
  #operation(one, times) {
    const ripple = rippleOf(one);
    const changes = Object.entries(one.summary?.labelled ?? {}).sort((a, b) => Number(b[1]) - Number(a[1])).slice(0, 4);
    return html`<li class=${one.undone_by ? "gone" : ""}>
      <p><b>${wordsOf(one)}${times > 1 ? `, in ${times} steps` : ""}</b> <span class="dim">${one.actor} · <time datetime=${one.at} title=${new Date(one.at).toLocaleString()}>${ago(one.at)}</time></span></p>
      ${ripple ? html`<p class="dim">⟲ ${ripple.toLocaleString()} automatic${changes.length ? html`: ${changes.map(([name, count], place) => `${place ? ", " : ""}${count} ${name}`)}` : nothing}
        <button class="quiet" @click=${() => router.go("review", { view: "grid", tab: "changed", rev: String(one.summary.revision) })}>See them</button></p>` : nothing}
      ${one.undone_by ? html`<p class="dim">taken back</p>` : canGo(one) ? this.#buttons(one) : nothing}
    </li>`;
  }

  /** @param {any} one */
  #buttons(one) {
    if (this.asks === one.id) {
      const count = (this.operations ?? []).slice(0, (this.operations ?? []).indexOf(one) + 1).filter(canGo).length;
      return html`<p class="row"><span>Take back ${count === 1 ? "this step" : `these ${count} steps`}?</span><button @click=${() => this.#revert(one)}>Yes</button><button class="quiet" @click=${() => ((this.asks = ""), this.requestUpdate())}>No</button></p>`;
    }
    return html`<p class="row"><button class="quiet" @click=${() => takeBack(one.id, wordsOf(one))}>Take back</button><button class="quiet" @click=${() => ((this.asks = one.id), this.requestUpdate())}>Back to before this</button></p>`;
  }
}

/** Return operations with how often the same followed: what comes in is written some at a time. @param {any[]} operations */
function together(operations) {
  const found = /** @type {{one: any, times: number}[]} */ ([]);
  for (const one of operations) {
    const last = found.at(-1);
    if (last && !canGo(one) && one.kind === "add" && last.one.kind === "add" && last.one.actor === one.actor && !rippleOf(one)) last.times += 1;
    else found.push({ one, times: 1 });
  }
  return found;
}

/** Whether an operation can be taken back. @param {any} one */
function canGo(one) {
  return !one.undone_by && one.kind !== "undo" && one.kind !== "add" && one.kind !== "extract";
}

/** @param {any} one */
function rippleOf(one) {
  const parts = ["labelled", "relabelled", "unlabelled"].map((name) => one.summary?.[name] ?? {});
  return parts.flatMap((part) => Object.values(part)).reduce((sum, count) => Number(sum) + Number(count), 0);
}

/** @param {any} one */
function wordsOf(one) {
  const did = KINDS[/** @type {keyof typeof KINDS} */ (one.kind)] ?? one.kind.replaceAll("_", " ");
  const count = one.summary?.by_person;
  return count ? `${count.toLocaleString()} ${did}` : did;
}

/** @param {string} at */
function ago(at) {
  const minutes = Math.round((Date.now() - Date.parse(at)) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  return minutes < 60 * 24 ? `${Math.round(minutes / 60)} h ago` : new Date(at).toLocaleDateString();
}

customElements.define("lk-history", History);
