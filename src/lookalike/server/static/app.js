// The frame around the pages: where one is, how it stands, what is on its way.

import { html, LitElement, nothing } from "./vendor/lit.js";
import "./choose.js";
import "./help.js";
import "./history.js";
import "./why.js";
import { redo, undo } from "./answers.js";
import { hint, shown } from "./keys.js";
import { PAGES } from "./pages.js";
import { openPalette } from "./palette.js";
import { api, keyboard, open, router, store } from "./session.js";
import { Follow } from "./store.js";
import "./toast.js";

const LINKS = {
  live: ["Live", "What happens elsewhere shows at once"],
  asking: ["Polling", "This tab asks for news every few seconds"],
  lost: ["No connection", "The server does not answer; the page tries again"],
};

class App extends LitElement {
  constructor() {
    super();
    new Follow(this, store);
    /** @type {Set<string>} */
    this.loaded = new Set();
    /** @type {HTMLElement | null} */
    this.shown = null;
  }

  /** What index.html shows until then gives way in the same frame. */
  createRenderRoot() {
    this.replaceChildren();
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    const go = Object.fromEntries(PAGES.map((one) => [one.id, () => router.go(one.id)]));
    keyboard.bind("everywhere", {
      ...go,
      help: () => this.#help(),
      palette: () => openPalette(this.#commands()),
      history: () => toggleDrawer("history"),
      undo: () => undo(),
      redo: () => redo(),
      close: () => (store.get("drawer") ? store.set({ drawer: "" }) : false),
    });
    window.addEventListener("keydown", (event) => keyboard.press(event));
    router.addEventListener("change", () => this.#show());
    api.addEventListener("key", () => store.set({ needsKey: true }));
    this.#show();
    this.#open();
  }

  async #open() {
    try {
      await open();
    } catch {
      setTimeout(() => !store.get("needsKey") && this.#open(), 2000);
    }
  }

  async #show() {
    const page = this.page;
    document.title = `${page.title} · Lookalike`;
    if (!this.loaded.has(page.id)) {
      await page.load();
      this.loaded.add(page.id);
    }
    this.requestUpdate();
  }

  get page() {
    return PAGES.find((one) => one.id === router.route.page) ?? PAGES[0];
  }

  #help() {
    /** @type {any} */ (this.querySelector("lk-help")).open();
  }

  #commands() {
    const page = /** @type {any} */ (this.querySelector("main > *"));
    return [
      ...(page?.commands ?? []),
      { name: "Undo", hint: hint("undo"), run: undo },
      { name: "Do again", hint: hint("redo"), run: redo },
      { name: "History", hint: hint("history"), run: () => toggleDrawer("history") },
      { name: "Keys", hint: hint("help"), run: () => this.#help() },
    ];
  }

  /** @param {SubmitEvent} event */
  #useKey(event) {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    api.useKey(String(new FormData(form).get("key")));
    store.set({ needsKey: false });
    this.#open();
  }

  render() {
    const { state } = store;
    const page = this.page;
    return html`
      <a class="skip" href="#main" @click=${(/** @type {Event} */ event) => (event.preventDefault(), this.querySelector("main")?.focus())}>To the page</a>
      <header class="bar">
        <nav aria-label="Pages">${PAGES.map((one) => html`<a href=${router.to(one.id)} title=${`${one.asks}  ${hint(one.id)}`} aria-current=${one.id === page.id ? "page" : nothing}>${one.title}</a>`)}</nav>
        ${this.#chooser(state)} ${this.#counters(state.report)}
        <span class="spring"></span>
        ${state.waiting ? html`<span class="pill wait" title="Answers on their way">${state.waiting} on the way</span>` : nothing}
        <span class="link ${state.link}" title=${LINKS[/** @type {keyof typeof LINKS} */ (state.link)][1]}>${LINKS[/** @type {keyof typeof LINKS} */ (state.link)][0]}</span>
        <button class="quiet" title=${`Undo (${hint("undo")})`} @click=${() => undo()}>Undo</button>
        <button class="quiet" aria-pressed=${state.drawer === "history"} title=${`History (${shown("h")})`} @click=${() => toggleDrawer("history")}>History</button>
        <button class="quiet" aria-label="Keys" title="Keys (?)" @click=${() => this.#help()}>?</button>
      </header>
      <div class="body">
        <main id="main" tabindex="-1">${state.needsKey ? this.#askForKey() : this.#main(state, page)}</main>
        ${state.drawer === "why" ? html`<lk-why></lk-why>` : nothing}
        ${state.drawer === "history" ? html`<lk-history></lk-history>` : nothing}
      </div>
      <lk-help></lk-help><lk-choose></lk-choose><lk-toasts></lk-toasts>`;
  }

  /** @param {Record<string, any>} state @param {import("./pages.js").Page} page */
  #main(state, page) {
    if (state.trouble && !state.collections) return html`<div class="empty"><h1>No answer yet</h1><p>${state.trouble}</p><p class="dim">It is asked again every two seconds.</p></div>`;
    if (!state.collections || !this.loaded.has(page.id)) return html`<p class="empty dim">…</p>`;
    if (this.shown?.localName !== page.element) this.shown = document.createElement(page.element);
    return this.shown;
  }

  #askForKey() {
    return html`<form class="empty" @submit=${this.#useKey}><h1>This server needs a key</h1>
      <p>Make one with <code>lookalike keys create --name you --scope label</code>. It is kept for this tab only.</p>
      <label>Key <input name="key" type="password" autocomplete="off" required /></label> <button class="main">Open</button></form>`;
  }

  /** @param {Record<string, any>} state */
  #chooser(state) {
    const all = (state.collections ?? []).flatMap((/** @type {any} */ one) => one.fields.map((/** @type {any} */ by) => [one.collection_name, by.field]));
    if (all.length < 2) return state.collection ? html`<strong class="where">${state.collection}</strong>` : nothing;
    const change = (/** @type {any} */ event) => {
      const [c, field] = JSON.parse(event.target.value);
      router.go(this.page.id, { c, field });
    };
    return html`<select aria-label="Collection and label field" @change=${change}>
      ${all.map((/** @type {string[]} */ one) => html`<option value=${JSON.stringify(one)} ?selected=${one[0] === state.collection && one[1] === state.field}>${one[0]} · ${one[1]}</option>`)}
    </select>`;
  }

  /** @param {any} report */
  #counters(report) {
    if (!report) return nothing;
    const { human, auto, promoted } = report.labelled;
    return html`<dl class="counters" aria-label="How it stands">
      <div title="Labelled by people"><dt>✓ by people</dt><dd>${human.toLocaleString()}</dd></div>
      <div title="Labelled automatically"><dt>⟲ automatic</dt><dd>${(auto + promoted).toLocaleString()}</dd></div>
      <div title="Waiting for somebody"><dt>? to review</dt><dd class="amber">${report.queue.toLocaleString()}</dd></div>
      ${report.waiting ? html`<div title="Being read"><dt>being read</dt><dd>${report.waiting.toLocaleString()}</dd></div>` : nothing}
    </dl>`;
  }
}

/** @param {string} name */
function toggleDrawer(name) {
  store.set({ drawer: store.get("drawer") === name ? "" : name });
}

customElements.define("lk-app", App);
