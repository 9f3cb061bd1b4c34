// A grid of any length: only what is on screen is there, and tiles are used again.

import { html, LitElement, nothing, repeat } from "./vendor/lit.js";
import * as answers from "./answers.js";
import { Band } from "./band.js";
import { choose } from "./choose.js";
import { byIds, changedBy, nearTo, parts } from "./documents.js";
import { hint } from "./keys.js";
import { prefetch } from "./pictures.js";
import { api, here, keyboard, knownLabels, live, router, slots, store } from "./session.js";
import { placesOf, Selection, spanned } from "./selection.js";
import { Follow, Hear } from "./store.js";
import { tell } from "./toast.js";
import { tile } from "./tile.js";
import { topOf, windowOf } from "./window.js";

const GAP = 6;
const PAGE = 200;
const KEPT_PAGES = 12;
const SIMILAR = 200;
const INSET = 3;
const READ_AT_ONCE = 1000;
const MOST_PAIRS = 50;
/** Of so many something is said at once. */
const MOST = 100_000;

class Grid extends LitElement {
  constructor() {
    super();
    new Follow(this, store);
    new Hear(this, live, ["changed"], (event) => this.#merge(event.detail.documents));
    new Hear(this, live, ["refetch"], () => this.#readAgain());
    new Hear(this, router, ["change"], () => this.#sync());
    this.of = "";
    this.count = 0;
    /** @type {Map<number, any[]>} */
    this.pages = new Map();
    /** @type {Set<number>} */
    this.asked = new Set();
    /** @type {any[] | null} */
    this.fixed = null;
    this.selected = new Selection();
    /** @type {Map<number, any[]>} what was selected on pages that are kept no more */
    this.left = new Map();
    this.at = 0;
    this.top = 0;
    this.width = 1000;
    this.height = 600;
    this.isKnown = false;
    this.trouble = "";
    /** @type {Set<string>} */
    this.fresh = new Set();
    const before = { selected: this.selected, base: this.selected };
    this.band = new Band({
      seen: (scroller) => windowOf({ ...this.shape, top: scroller.scrollTop }).real,
      begin: (adds) => Object.assign(before, { selected: this.selected, base: adds ? this.selected : new Selection() }),
      span: ({ left, right, top, bottom }) => this.#select(before.base.with(spanned({ left: left - INSET, right: right - INSET, top: top - INSET, bottom: bottom - INSET }, { ...this.shape, gap: GAP }))),
      end: (isKept) => isKept || this.#select(before.selected),
    });
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.watch = new ResizeObserver(() => this.#measure());
    this.watch.observe(this);
    this.ends = [
      keyboard.bind("items", this.#movements()),
      keyboard.bind("decide", this.#decisions()),
      keyboard.bind("everywhere", { close: () => (this.chosen ? (this.#select(new Selection()), true) : false), fresh: () => (this.#select(new Selection()), this.#begin()) }),
    ];
    this.#sync();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.watch?.disconnect();
    this.ends?.forEach((end) => end());
  }

  get scroller() {
    return /** @type {HTMLElement | null} */ (this.querySelector(".scroller"));
  }

  /** How many are selected. */
  get chosen() {
    return this.selected.size(this.count);
  }

  get tileSize() {
    return parseInt(getComputedStyle(document.documentElement).getPropertyValue("--tile"), 10) || 132;
  }

  get shape() {
    const row = this.tileSize + GAP;
    return { count: this.count, columns: Math.max(1, Math.floor((this.width + GAP) / row)), row, height: this.height };
  }

  #sync() {
    const { tab = "", rev = "", like = "" } = router.route.params;
    const of = `${store.get("collection")}/${store.get("field")}/${tab}/${rev}/${like}`;
    if (!store.get("field") || of === this.of) return;
    this.of = of;
    this.#begin();
  }

  async #begin() {
    const { tab = "", rev = "", like = "" } = router.route.params;
    const of = this.of;
    Object.assign(this, { pages: new Map(), asked: new Set(), fixed: null, count: 0, at: 0, top: 0, isKnown: false, trouble: "", selected: new Selection(), left: new Map() });
    try {
      if (tab === "changed") this.fixed = await byIds(await changedBy(Number(rev)));
      else if (tab === "similar") this.fixed = [...(await byIds([like])), ...(await nearTo(like, SIMILAR))];
      else await this.#ask(0);
      if (of !== this.of) return;
      if (this.fixed) this.count = this.fixed.length;
    } catch (error) {
      this.trouble = /** @type {Error} */ (error).message;
    }
    this.isKnown = true;
    if (router.route.params.all) this.selected = new Selection([], true);
    if (this.scroller) this.scroller.scrollTop = 0;
    this.requestUpdate();
  }

  get filters() {
    const field = store.get("field");
    const { tab = "" } = router.route.params;
    const origin = (/** @type {string} */ value) => ({ field: `labels.${field}.origin`, operator: "eq", value });
    if (tab === "null") return { field, operator: "is_null", value: true };
    if (tab === "unsure") return origin("auto");
    if (tab === "conflicts") return { field: "taxonomy_match.reason", operator: "eq", value: "conflict" };
    if (tab === "people") return origin("human");
    return null;
  }

  /** What is unsure comes by how sure it is; all there is comes as it came. */
  get order() {
    const { filters } = this;
    return filters ? { filters, sort_by: "-taxonomy_match.confidence" } : {};
  }

  /** @param {number} page @param {number} size @param {Record<string, any>} [more] */
  #list(page, size, more = {}) {
    return api.post(here(`/documents/list?page=${page + 1}&page_size=${size}&include_total=true`), { ...this.order, ...more });
  }

  /** @param {number} page */
  async #ask(page) {
    if (this.asked.has(page)) return;
    this.asked.add(page);
    const of = this.of;
    const told = await this.#list(page, PAGE, { select: parts() });
    if (of !== this.of) return;
    this.count = told.total_count ?? this.count;
    this.pages.set(page, told.results);
    if (this.pages.size > KEPT_PAGES) {
      const far = [...this.pages.keys()].sort((a, b) => Math.abs(b - page) - Math.abs(a - page))[0];
      const list = this.pages.get(far) ?? [];
      if (!this.selected.isAll && list.some((_, place) => this.selected.has(far * PAGE + place))) this.left.set(far, list.map(({ document_id, labels }) => ({ document_id, labels })));
      this.pages.delete(far);
      this.asked.delete(far);
    }
    this.requestUpdate();
  }

  /** @param {number} place @returns {any} */
  doc(place) {
    if (this.fixed) return this.fixed[place];
    return this.pages.get(Math.floor(place / PAGE))?.[place % PAGE];
  }

  #measure() {
    const { scroller } = this;
    if (!scroller) return;
    Object.assign(this, { width: scroller.clientWidth - 4, height: scroller.clientHeight });
    this.requestUpdate();
  }

  /** @param {any[]} documents */
  #merge(documents) {
    const field = store.get("field");
    const changed = new Map(documents.filter((one) => one.field === field).map((one) => [one.document_id, one]));
    const renew = (/** @type {any} */ doc) => {
      const now = changed.get(doc.document_id);
      if (!now || now.revision <= doc.labels[field].revision) return doc;
      this.fresh.add(doc.document_id);
      const { label, origin, revision } = now;
      return { ...doc, labels: { ...doc.labels, [field]: { ...doc.labels[field], label, origin, revision } } };
    };
    if (this.fixed) this.fixed = this.fixed.map(renew);
    for (const [page, list] of this.pages) this.pages.set(page, list.map(renew));
    setTimeout(() => ((this.fresh = new Set()), this.requestUpdate()), 900);
    this.requestUpdate();
  }

  /** Where too much has changed to be told, read again what is here. */
  async #readAgain() {
    const field = store.get("field");
    for (const list of this.fixed ? [this.fixed] : [...this.pages.values()]) {
      const now = await byIds(list.map((one) => one.document_id)).catch(() => []);
      this.#merge(now.map((one) => ({ document_id: one.document_id, field, ...one.labels[field] })));
    }
  }

  /** @returns {import("./keys.js").Handlers} */
  #movements() {
    const by = (/** @type {() => number} */ count, extends_ = false) => () => this.#go(this.at + count(), extends_);
    const across = () => this.shape.columns;
    const screen = () => this.shape.columns * Math.max(1, Math.floor(this.height / this.shape.row));
    return {
      left: by(() => -1), right: by(() => 1), up: by(() => -across()), down: by(() => across()),
      extendLeft: by(() => -1, true), extendRight: by(() => 1, true), extendUp: by(() => -across(), true), extendDown: by(() => across(), true),
      pageDown: by(screen), pageUp: by(() => -screen()), first: () => this.#go(0), last: () => this.#go(this.count - 1),
      toggle: () => this.#toggle(this.at), all: () => this.#all(), view: () => this.#look(),
      pair: () => this.#pair(),
      larger: () => this.#resize(16), smaller: () => this.#resize(-16),
    };
  }

  /** @returns {import("./keys.js").Handlers} */
  #decisions() {
    return {
      accept: () => this.#accept(), label: () => this.#askLabel(),
      slot: (digit) => (slots.at(Number(digit)) ? this.#label(/** @type {string} */ (slots.at(Number(digit)))) : tell(`Number ${digit} has no label yet.`)),
      same: () => (slots.last ? this.#label(slots.last) : tell("There is no label yet to give again.")),
      reject: () => this.#say("not this", (some, how) => answers.reject(some, null, how), { label: null, origin: null }),
      newKind: () => this.#say("a new category", answers.newKind, { label: null, answer: "new_kind" }),
      cannotTell: () => this.#say("can't tell", answers.cannotTell, { label: null, answer: "cannot_tell" }),
      promote: () => this.#promote(), demote: () => this.#demote(),
      why: () => this.#why(), similar: () => this.doc(this.at) && router.go("review", { view: "grid", tab: "similar", like: this.doc(this.at).document_id }),
    };
  }

  /** @param {number} place */
  #go(place, extends_ = false) {
    const wanted = Math.max(0, Math.min(place, this.count - 1));
    if (extends_) this.#select(this.selected.with([this.at < wanted ? [this.at, wanted] : [wanted, this.at]]));
    this.at = wanted;
    this.#reveal(wanted);
    if (store.get("drawer") === "why") this.#why();
    this.requestUpdate();
  }

  /** @param {number} place */
  #reveal(place) {
    const { scroller, shape } = this;
    if (!scroller) return;
    const row = Math.floor(place / shape.columns);
    const seen = windowOf({ ...shape, top: scroller.scrollTop });
    if (row > seen.first && row < seen.last - 2) return;
    const centred = row - Math.floor(shape.height / shape.row / 2);
    scroller.scrollTop = Math.max(0, topOf(shape, row <= seen.first ? row : Math.max(0, Math.min(centred, row))));
    this.top = scroller.scrollTop;
  }

  /** @param {number} place */
  #toggle(place) {
    this.at = place;
    this.#select(this.selected.toggled(place));
  }

  /** Select what is on screen; where that is selected, all there is. */
  #all() {
    const { shape } = this;
    const { real } = windowOf({ ...shape, top: this.top });
    const seen = spanned({ left: 0, right: this.width, top: real, bottom: real + this.height }, { ...shape, gap: GAP });
    const isSelected = [...placesOf(seen)].every((place) => this.selected.has(place));
    this.#select(isSelected ? new Selection([], true) : this.selected.with(seen));
  }

  /** @param {Selection} selected */
  #select(selected) {
    this.selected = selected;
    if (!this.chosen) this.left.clear();
    router.set({ all: selected.isAll && !selected.parts.length ? "1" : "" });
    this.requestUpdate();
  }

  /** What an answer is about: what is selected, or the one that one is at. */
  get meant() {
    return this.chosen ? this.selected : new Selection(this.count ? [[this.at, this.at]] : []);
  }

  /** Return the documents of a selection that are known here, and the places of the others. @param {import("./selection.js").Part[]} parts */
  #known(parts) {
    const known = /** @type {any[]} */ ([]);
    const others = /** @type {number[]} */ ([]);
    for (const place of placesOf(parts)) {
      const doc = this.left.get(Math.floor(place / PAGE))?.[place % PAGE] ?? this.doc(place);
      if (doc) known.push(doc);
      else others.push(place);
    }
    return { known, others };
  }

  /** Return the documents of parts; of those that were never on screen the ids alone. @param {import("./selection.js").Part[]} parts @returns {Promise<any[]>} */
  async #documents(parts) {
    const { known, others } = this.#known(parts);
    for (let at = 0; at < others.length; ) {
      const page = Math.floor(others[at] / READ_AT_ONCE);
      const { results } = await this.#list(page, READ_AT_ONCE, { select: ["document_id"] });
      for (; at < others.length && others[at] < (page + 1) * READ_AT_ONCE; at += 1) if (results[others[at] % READ_AT_ONCE]) known.push(results[others[at] % READ_AT_ONCE]);
    }
    return [...new Map(known.map((one) => [one.document_id, one])).values()];
  }

  /** Return what is meant as an answer takes it: documents, or what chooses them. @param {Selection} selection @returns {Promise<any>} */
  async #resolved({ parts, isAll }) {
    if (!isAll) return this.#documents(parts);
    if (this.fixed) return this.#documents(new Selection([[0, this.count - 1]]).without(parts).parts);
    const out = (await this.#documents(parts)).map((one) => one.document_id);
    const chosen = [this.filters, out.length ? { field: "document_id", operator: "nin", value: out } : null].filter(Boolean);
    return { filters: chosen.length ? { AND: chosen } : {}, count: this.count - out.length };
  }

  #accept() {
    const field = store.get("field");
    const { parts, isAll } = this.meant;
    const { known, others } = this.#known(parts);
    if (isAll || others.length) return tell("Not all of these were shown, so nothing is known to accept: give them a label.");
    const labels = new Set(known.map((one) => one.labels[field]?.label).filter(Boolean));
    if (labels.size === 1) this.#label([...labels][0]);
    else if (labels.size > 1) tell("What is selected has several labels: accept them one label at a time.");
    else this.#askLabel();
  }

  #askLabel() {
    choose({
      title: this.chosen > 1 ? `What are these ${this.chosen.toLocaleString()}?` : "What is it?", placeholder: "A few letters, or a new name",
      choices: knownLabels().map((name) => ({ name, hint: slots.of(name) ? String(slots.of(name)) : "" })),
      take: (name) => this.#label(name), create: (name) => this.#label(name),
    });
  }

  /** @param {string} label */
  #label(label) {
    this.#say(label, (some, how) => answers.label(some, label, how), { label, origin: "human" });
  }

  /**
   * Say something of what is meant: painted at once, sent when its documents are known.
   * @param {string} what @param {(some: any, how: any) => void} send @param {Record<string, any>} now how they stand then
   */
  async #say(what, send, now) {
    const field = store.get("field");
    const { meant } = this;
    const count = meant.size(this.count);
    if (!count) return;
    if (count > MOST) return tell(`${count.toLocaleString()} are selected; something can be said of ${MOST.toLocaleString()} at once.`);
    const found = this.#resolved(meant);
    const was = new Map();
    this.#repaint((doc, place) => (meant.has(place) ? (was.set(doc.document_id, doc.labels[field]), { ...doc.labels[field], ...now }) : null));
    const back = () => this.#repaint((doc) => was.get(doc.document_id) ?? null);
    if (this.chosen) this.#select(new Selection());
    else this.#go(this.at + 1);
    try {
      send(await found, { what: count > 1 ? `${count.toLocaleString()} × ${what}` : what, back });
    } catch (error) {
      back();
      tell(`“${what}” was not recorded: ${/** @type {Error} */ (error).message}`, { kind: "bad", stays: true });
    }
  }

  /** Let documents that are shown stand otherwise; null leaves one as it is. @param {(doc: any, place: number) => any} to */
  #repaint(to) {
    const field = store.get("field");
    const renew = (/** @type {any} */ doc, /** @type {number} */ place) => {
      const standing = to(doc, place);
      return standing ? { ...doc, labels: { ...doc.labels, [field]: standing } } : doc;
    };
    if (this.fixed) this.fixed = this.fixed.map(renew);
    for (const [page, list] of this.pages) this.pages.set(page, list.map((doc, place) => renew(doc, page * PAGE + place)));
    this.requestUpdate();
  }

  /** Use what is meant as references. */
  async #promote() {
    const { meant } = this;
    const some = await this.#resolved(meant);
    answers.promote(some, { what: `${meant.size(this.count).toLocaleString()} used as references` });
  }

  /** Say that what is meant is no reference for what it is called. */
  async #demote() {
    const { parts, isAll } = this.meant;
    if (!isAll && this.#known(parts).others.length) return tell("Not all of these were shown: look at what you call wrong.");
    answers.demote(await this.#resolved(this.meant));
  }

  #why() {
    if (this.doc(this.at)) store.set({ drawer: "why", subject: this.doc(this.at).document_id });
  }

  /** Show what is meant side by side: two with each other, others with the references they are like. */
  #pair() {
    const { parts, isAll } = this.meant;
    const { known } = isAll ? { known: [] } : this.#known(parts);
    const ids = known.slice(0, MOST_PAIRS).map((one) => one.document_id);
    const isNamed = known[0]?.labels[store.get("field")]?.label;
    const [of, beside] = ids.length === 2 ? (isNamed ? [ids[1], ids[0]] : ids) : [ids.join(","), ""];
    router.go("review", { tab: router.route.params.tab ?? "", view: "pair", of, beside });
  }

  #look() {
    const doc = this.doc(this.at);
    const beside = (/** @type {number} */ by) => (this.#go(this.at + by), this.doc(this.at));
    if (doc) /** @type {any} */ (document.querySelector("lk-view"))?.open(doc, beside);
  }

  /** @param {number} by */
  #resize(by) {
    document.documentElement.style.setProperty("--tile", `${Math.max(84, Math.min(260, this.tileSize + by))}px`);
    this.requestUpdate();
  }

  #scrolled() {
    const { scroller } = this;
    if (scroller) this.top = scroller.scrollTop;
    this.requestUpdate();
  }

  /** @param {number} place @param {MouseEvent} event */
  #pick(place, event) {
    if (event.shiftKey) return this.#go(place, true);
    this.#toggle(place);
  }

  updated() {
    if (this.isKnown && this.count && !document.querySelector("dialog[open]") && (document.activeElement === document.body || document.activeElement?.id === "main")) this.scroller?.focus({ preventScroll: true });
    const { first, last } = windowOf({ ...this.shape, top: this.top });
    const { columns } = this.shape;
    if (this.fixed || !this.count) return;
    const ahead = Math.min(this.count - 1, (last + (last - first)) * columns);
    for (const page of new Set([Math.floor((first * columns) / PAGE), Math.floor(Math.max(0, last * columns - 1) / PAGE), Math.floor(ahead / PAGE)])) if (page * PAGE < this.count) this.#ask(page).catch((error) => ((this.trouble = error.message), this.requestUpdate()));
    for (let place = last * columns; place < ahead; place += 1) prefetch(this.doc(place)?.thumbnail_url);
  }

  render() {
    if (this.trouble) return html`<div class="empty"><h1>The items did not come</h1><p>${this.trouble}</p><button @click=${() => this.#begin()}>Ask again</button></div>`;
    const { shape, chosen } = this;
    const { sizer, first, last, offset } = windowOf({ ...shape, top: this.top });
    const places = [];
    for (let place = first * shape.columns; place < Math.min(this.count, last * shape.columns); place += 1) places.push(place);
    const here_ = this.doc(this.at);
    return html`<p class="gridbar row"><span>${this.isKnown ? `${this.count.toLocaleString()} items` : "…"}</span>${chosen ? html`<b>${this.selected.isAll ? (chosen === this.count ? "All " : "All but ") : ""}${(this.selected.isAll && chosen < this.count ? this.count - chosen : chosen).toLocaleString()} selected</b>${this.selected.isAll ? nothing : html`<button class="quiet" @click=${() => this.#select(new Selection([], true))}>All ${this.count.toLocaleString()} <kbd>${hint("all")}</kbd></button>`}<button class="quiet" @click=${() => this.#select(new Selection())}>Select nothing <kbd>Esc</kbd></button>` : nothing}
        <span class="spring"></span><button @click=${() => this.#askLabel()}>Label <kbd>${hint("label")}</kbd></button><button @click=${() => this.#accept()}>Accept <kbd>${hint("accept", "decide")}</kbd></button><button class="quiet" @click=${() => this.#why()}>Why <kbd>${hint("why")}</kbd></button></p>
      <div class="scroller" role="listbox" aria-multiselectable="true" aria-label="Items" tabindex="0" aria-activedescendant=${here_ ? `cell-${this.at % 5000}` : nothing} @scroll=${this.#scrolled} @pointerdown=${(/** @type {PointerEvent} */ event) => this.scroller && this.band.press(event, this.scroller)} @click=${{ capture: true, handleEvent: (/** @type {Event} */ event) => this.band.click(event) }}>
        <div class="sizer" role="presentation" .style=${`height:${sizer}px`}><div class="window" role="presentation" .style=${`transform:translateY(${offset}px)`}>
          ${repeat(places, (place) => place % (shape.columns * (last - first + 4)), (place) => this.#cell(place))}
        </div></div>
      </div>
      ${this.isKnown && !this.count ? html`<p class="empty dim">Nothing here.</p>` : nothing}`;
  }

  /** @param {number} place */
  #cell(place) {
    const doc = this.doc(place);
    const how = { id: `cell-${place % 5000}`, at: place + 1, of: this.count, isHere: place === this.at, isSelected: this.selected.has(place) };
    if (!doc) return html`<div class="tile waiting" role="option" id=${how.id} aria-selected="false" aria-label="Loading" aria-posinset=${how.at} aria-setsize=${how.of}></div>`;
    return tile(doc, { ...how, field: store.get("field"), isNew: this.fresh.has(doc.document_id), onPick: (event) => this.#pick(place, event), onOpen: () => ((this.at = place), this.#look()) });
  }
}

customElements.define("lk-grid", Grid);
