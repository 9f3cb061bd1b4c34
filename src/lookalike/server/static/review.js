// Review: what needs me? One question after another, or all there is as a grid.

import { html, LitElement, nothing, repeat } from "./vendor/lit.js";
import * as answers from "./answers.js";
import { choose } from "./choose.js";
import "./grid.js";
import { hint } from "./keys.js";
import { meant, Queue } from "./queue.js";
import { api, here, keyboard, knownLabels, live, router, slots, store } from "./session.js";
import { Follow } from "./store.js";
import { answerOf, commandBar, stripView } from "./strip.js";
import { tell } from "./toast.js";
import "./view.js";

const TABS = [
  { id: "", name: "Next", kind: "", none: "Nothing waits for an answer." },
  { id: "null", name: "Null", kind: "value", none: "Nothing without a label waits." },
  { id: "unsure", name: "Unsure", kind: "limit", none: "Nothing near the limit waits." },
  { id: "conflicts", name: "Conflicts", kind: "conflict", none: "Nobody and nothing contradicts each other." },
  { id: "kinds", name: "New kind?", kind: "new_kind", none: "No group looks like something new." },
];
const RENEW_AFTER = 4;
const SHOWN = 4;
const WASH_MS = 900;
const AWAIT_MS = 800;

class Review extends LitElement {
  constructor() {
    super();
    new Follow(this, store);
    this.of = "";
    this.queue = new Queue(async () => ({ results: [] }));
    /** @type {Set<string>} */
    this.changed = new Set();
    this.answered = 0;
    this.isAwaiting = false;
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.ends = [
      keyboard.bind("items", this.#movements()),
      keyboard.bind("decide", this.#decisions()),
      keyboard.bind("everywhere", { fresh: () => this.#begin(), close: () => this.#clear() }),
      on(router, "change", () => this.#sync()),
      on(live, "changed", (event) => this.#merge(/** @type {CustomEvent} */ (event).detail.documents)),
      on(live, "changed", () => this.#await()),
      on(live, "refetch", () => this.queue.renew()),
      on(window, "lk-undone", (event) => this.#undone(/** @type {CustomEvent} */ (event).detail.operation)),
      store.subscribe(() => this.#sync()),
    ];
    this.#sync();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.ends?.forEach((end) => end());
  }

  get tab() {
    return TABS.find((one) => one.id === (router.route.params.tab ?? "")) ?? TABS[0];
  }

  get isGrid() {
    return router.route.params.view === "grid";
  }

  get showsMachine() {
    return this.tab.id === "unsure";
  }

  get commands() {
    return TABS.map((one) => ({ name: `Review: ${one.name}`, hint: "", run: () => router.go("review", { tab: one.id }) }));
  }

  #sync() {
    const { collection, field } = store.state;
    const of = `${collection}/${field}/${this.tab.id}`;
    if (router.route.page !== "review" || !field) return;
    if (of !== this.of) {
      this.of = of;
      this.#begin();
    } else if (!this.isGrid && !this.queue.isKnown) this.queue.fill();
  }

  #begin() {
    const { field } = store.state;
    const kind = this.tab.kind;
    this.queue = new Queue((asked) => api.get(here("/queue"), { ...asked, field, kind }));
    this.queue.addEventListener("change", () => this.requestUpdate());
    this.answered = 0;
    if (!this.isGrid) this.queue.fill();
    this.requestUpdate();
  }

  /** @param {any[]} documents */
  #merge(documents) {
    const { field, collection } = store.state;
    const own = documents.filter((one) => one.field === field && one.collection_id === `col_${collection}`);
    const fresh = this.queue.merge(new Map(own.map((one) => [one.document_id, one])), field);
    if (!fresh.size) return;
    this.changed = new Set([...this.changed, ...fresh]);
    setTimeout(() => ((this.changed = new Set()), this.requestUpdate()), WASH_MS);
    this.requestUpdate();
  }

  /** Where nothing is asked any more, what comes in is: at most now and then, as it comes in steps. */
  #await() {
    if (!this.queue.isOver || this.isAwaiting) return;
    this.isAwaiting = true;
    setTimeout(() => ((this.isAwaiting = false), this.queue.isOver && this.queue.renew()), AWAIT_MS);
  }

  /** @param {string} operation */
  #undone(operation) {
    this.queue.reopen(this.queue.strips.find((one) => one.operation === operation));
  }

  /** @returns {import("./keys.js").Handlers} */
  #movements() {
    const step = (/** @type {number} */ by) => () => this.#step(by);
    return this.#inStrips({
      left: step(-1), right: step(1), up: () => this.#step(-this.#perRow()), down: () => this.#step(this.#perRow()),
      next: () => this.queue.move(1), previous: () => this.queue.move(-1),
      first: () => this.#to(0), last: () => this.#to(-1),
      toggle: () => this.#toggle(this.queue.strip?.at ?? 0),
      extendRight: () => (this.#toggle(this.queue.strip?.at ?? 0), this.#step(1)),
      extendLeft: () => (this.#toggle(this.queue.strip?.at ?? 0), this.#step(-1)),
      all: () => this.#clear(), view: () => this.#look(), crop: () => this.#look(), larger: () => resize(16), smaller: () => resize(-16),
    });
  }

  /** @returns {import("./keys.js").Handlers} */
  #decisions() {
    return this.#inStrips({
      accept: () => this.#accept(), label: () => this.#askLabel(),
      slot: (digit) => this.#useSlot(Number(digit)), same: () => (slots.last ? this.#label(slots.last) : tell("There is no label yet to give again.")),
      reject: () => this.#reject(), cannotTell: () => this.#say("can't tell", answers.cannotTell),
      newKind: () => this.#say("a new kind", answers.newKind), skip: () => this.#skip(),
      why: () => this.#why(), similar: () => this.#similar(),
    });
  }

  /** @param {import("./keys.js").Handlers} handlers @returns {import("./keys.js").Handlers} */
  #inStrips(handlers) {
    const only = (/** @type {import("./keys.js").Handlers[string]} */ run) => (/** @type {string} */ token, /** @type {Event} */ event) => (this.isGrid ? false : run(token, event));
    return Object.fromEntries(Object.entries(handlers).map(([id, run]) => [id, only(run)]));
  }

  /** @param {number} by */
  #step(by) {
    const { strip } = this.queue;
    if (!strip) return;
    const count = strip.documents.length;
    this.#to((strip.at + by + count) % count);
  }

  /** @param {number} place */
  #to(place) {
    const { strip } = this.queue;
    if (!strip) return;
    strip.at = place < 0 ? strip.documents.length - 1 : place;
    if (store.get("drawer") === "why") this.#why();
    this.requestUpdate();
  }

  #perRow() {
    const tiles = [.../** @type {NodeListOf<HTMLElement>} */ (this.querySelectorAll(".strip.here .tile"))];
    const first = tiles[0]?.offsetTop;
    const row = tiles.findIndex((one) => one.offsetTop !== first);
    return row < 0 ? tiles.length : row;
  }

  /** @param {number} place */
  #toggle(place) {
    const { strip } = this.queue;
    if (!strip || strip.documents.length < 2) return;
    const id = strip.documents[place].document_id;
    strip.at = place;
    if (!strip.out.delete(id)) strip.out.add(id);
    this.requestUpdate();
  }

  #clear() {
    const { strip } = this.queue;
    if (this.isGrid || !strip?.out.size) return false;
    strip.out.clear();
    this.requestUpdate();
    return true;
  }

  #look() {
    const { strip } = this.queue;
    if (!strip) return;
    const beside = (/** @type {number} */ by) => (this.#step(by), strip.documents[strip.at]);
    /** @type {any} */ (this.querySelector("lk-view")).open(strip.documents[strip.at], beside);
  }

  #why() {
    const { strip } = this.queue;
    if (strip) store.set({ drawer: "why", subject: strip.documents[strip.at].document_id });
  }

  #similar() {
    const { strip } = this.queue;
    if (strip) router.go("review", { view: "grid", tab: "similar", like: strip.documents[strip.at].document_id });
  }

  #accept() {
    const { strip } = this.queue;
    const answer = strip ? answerOf(strip, this.showsMachine) : null;
    if (answer) this.#label(answer);
    else this.#askLabel();
  }

  /** @param {number} digit */
  #useSlot(digit) {
    const label = slots.at(digit);
    if (label) this.#label(label);
    else tell(`Number ${digit} has no label yet: the next label that you type gets it.`);
  }

  #askLabel() {
    const { strip } = this.queue;
    if (!strip) return;
    const known = knownLabels();
    const names = [...new Set([...near(strip), ...known])];
    choose({
      title: strip.documents.length > 1 ? "What are they?" : "What is it?",
      placeholder: known.length ? "A few letters, or a new name" : "Type a name",
      choices: names.map((name) => ({ name, hint: slots.of(name) ? String(slots.of(name)) : "" })),
      take: (name) => this.#label(name),
      create: (name) => this.#label(name),
    });
  }

  /** @param {string} label */
  #label(label) {
    this.#say(label, (documents, how) => answers.label(documents, label, { asked: true, ...how }));
  }

  #reject() {
    const { strip } = this.queue;
    if (!strip) return;
    const label = answerOf(strip, this.showsMachine);
    if (!label) return tell(`Nothing is proposed here that it could not be. ${hint("newKind")}: a new kind, ${hint("cannotTell")}: can't tell.`);
    this.#say(`not ${label}`, (documents, how) => answers.reject(documents, documents.map(() => label), how));
  }

  #skip() {
    const { strip } = this.queue;
    if (!strip) return;
    Object.assign(strip, { state: "skipped", said: "Skipped" });
    this.queue.advance();
  }

  /**
   * Answer the strip that is asked, and go on.
   * @param {string} what @param {(documents: any[], how: {what: string, back: () => void, done: (told: any) => void}) => void} send
   */
  #say(what, send) {
    const { strip, queue } = this;
    if (!strip || strip.state === "said") return;
    const documents = meant(strip);
    if (!documents.length) return tell("Every item is X-ed out: nothing is left to be answered.");
    const count = documents.length > 1 ? `${documents.length} × ` : "";
    Object.assign(strip, { state: "said", said: `✓ ${count}${what}` });
    queue.advance();
    send(documents, {
      what: `${count}${what}`,
      back: () => queue.reopen(strip),
      done: (told) => ((strip.operation = told.operation_id), this.#learned()),
    });
  }

  get strip() {
    return this.queue.strip;
  }

  /** Ask anew now and then, so that what was taught shows in what is asked. */
  #learned() {
    this.answered += 1;
    if (this.answered % RENEW_AFTER === 0 || this.queue.isOver) this.queue.renew();
  }

  updated() {
    if (this.isGrid || document.querySelector("dialog[open]")) return;
    const active = document.activeElement;
    if (active && active !== document.body && !this.contains(active) && active.id !== "main") return;
    /** @type {HTMLElement | null} */ (this.querySelector(".strip.here [role=listbox]"))?.focus({ preventScroll: true });
  }

  render() {
    const { report } = store.state;
    if (!store.get("collection")) return html`<div class="empty"><h1>Nothing to review yet</h1><p>Bring something in first, or try the sample.</p><p><a href=${router.to("start")}>To Start</a></p></div>`;
    return html`<h1 class="unseen">Review</h1><div class="tabs">
        ${TABS.map((one) => html`<a href=${router.to("review", { tab: one.id, view: router.route.params.view ?? "" })} aria-current=${one.id === this.tab.id ? "page" : nothing}>${one.name}${one.kind && this.queue.kinds[one.kind] && !this.tab.kind ? html` <span class="dim">${this.queue.kinds[one.kind]}</span>` : nothing}</a>`)}
        <span class="spring"></span>
        <a href=${router.to("review", { ...router.route.params, view: this.isGrid ? "" : "grid" })}>${this.isGrid ? "As strips" : "As a grid"}</a>
      </div>
      ${report ? standing(report) : nothing}
      ${this.isGrid ? html`<lk-grid></lk-grid>` : this.#strips()} <lk-view></lk-view>`;
  }

  #strips() {
    const { queue } = this;
    const strips = queue.strips.slice(queue.at, queue.at + SHOWN);
    const first = queue.strip;
    if (queue.trouble && !first) return html`<div class="empty"><h1>The queue did not come</h1><p>${queue.trouble}</p><button @click=${() => queue.fill()}>Ask again</button></div>`;
    if (!queue.isKnown) return html`<p class="empty dim">Looking for the best question…</p>`;
    const before = queue.strips[queue.at - 1];
    return html`<div class="strips">
      <p class="before">${before ? html`<span class=${before.state === "said" ? "green" : "dim"}>${before.said || "before"}</span>` : nothing}</p>
      ${repeat(strips, (one) => one.key, (one, place) => html`
        ${stripView(one, {
          field: store.get("field"), isHere: place === 0, shows: this.showsMachine, changed: this.changed, place: queue.at + place,
          onPick: (at, event) => this.#pick(place, at, event), onOpen: (at) => (this.#to(at), this.#look()),
        })}
        ${place === 0 && one.state === "open" ? commandBar({ answer: answerOf(one, this.showsMachine), many: one.documents.length > 1, run: (id) => this.#run(id) }) : nothing}
        ${place === 0 ? this.#slotBar() : nothing}`)}
      ${first ? nothing : this.#end()}
    </div>`;
  }

  #slotBar() {
    const used = [1, 2, 3, 4, 5, 6, 7, 8, 9].filter((digit) => slots.at(digit));
    return html`<div class="slots row" role="group" aria-label="Labels by number">${used.map((digit) => html`<button class="slot" @click=${() => this.#useSlot(digit)}><kbd>${digit}</kbd> ${slots.at(digit)}</button>`)}</div>`;
  }

  #end() {
    const waiting = store.get("report")?.waiting;
    if (waiting && !this.queue.strips.length) return html`<div class="empty"><h1>${waiting.toLocaleString()} are being read</h1><p>The first strips come in a moment.</p></div>`;
    const none = this.queue.strips.length ? "That is all for now." : this.tab.none;
    return html`<div class="empty"><h1>${none}</h1><p>${this.queue.next === null ? "New items and changed suggestions come with a new queue." : "More is coming…"}</p>
      <button class="main" @click=${() => this.#begin()}>Look again <kbd>${hint("fresh")}</kbd></button></div>`;
  }

  /** @param {string} id */
  #run(id) {
    const found = { ...this.#decisions(), ...this.#movements() }[id];
    found?.("", new Event("click"));
  }

  /** @param {number} place of the strip, from the one that is asked @param {number} at @param {MouseEvent} event */
  #pick(place, at, event) {
    if (place) {
      this.queue.move(place);
      return;
    }
    const { strip } = this.queue;
    if (!strip) return;
    const from = strip.at;
    if (event.shiftKey) {
      const [low, high] = from < at ? [from, at] : [at, from];
      strip.documents.slice(low, high + 1).forEach((doc) => strip.out.add(doc.document_id));
      strip.at = at;
      this.requestUpdate();
    } else this.#toggle(at);
  }
}

/** What is in force: whether it labels by itself, and what is missing. @param {any} report */
function standing(report) {
  if (!report.missing?.length || report.state !== "suggests only") return nothing;
  return html`<p class="note"><b>Preview.</b> It only suggests so far. To label by itself it needs: ${report.missing.join("; ")}.</p>`;
}

/** The labels of what a strip looks like, by their name so as to say nothing of which is likely. @param {import("./queue.js").Strip} strip */
function near(strip) {
  const names = strip.documents.flatMap((doc) => (doc.taxonomy_match?.neighbors ?? []).map((/** @type {any} */ one) => one.label));
  return [...new Set(names)].sort();
}

/** @param {number} by */
function resize(by) {
  const root = document.documentElement;
  const now = parseInt(getComputedStyle(root).getPropertyValue("--tile"), 10) || 132;
  root.style.setProperty("--tile", `${Math.max(84, Math.min(260, now + by))}px`);
}

/** @param {EventTarget} target @param {string} name @param {(event: Event) => void} listener */
function on(target, name, listener) {
  target.addEventListener(name, listener);
  return () => target.removeEventListener(name, listener);
}

customElements.define("lk-review", Review);
