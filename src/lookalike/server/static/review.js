// Review: what needs me? One question after another, or all there is as a grid.

import { html, LitElement, nothing, repeat } from "./vendor/lit.js";
import * as answers from "./answers.js";
import { choose } from "./choose.js";
import { Closing } from "./closing.js";
import { Band } from "./band.js";
import { byIds } from "./documents.js";
import "./grid.js";
import { hint } from "./keys.js";
import "./pair.js";
import { meant, Queue } from "./queue.js";
import { sheetView } from "./sheet.js";
import { answersOf, isSheet, put, toldOf } from "./sheets.js";
import { api, here, keyboard, knownLabels, live, router, ruleHere, slots, store } from "./session.js";
import { Follow, Hear } from "./store.js";
import { answerOf, commandBar, opinionsOf, stripView } from "./strip.js";
import { tell } from "./toast.js";
import "./view.js";

const TABS = [
  { id: "", name: "Next", kind: "", none: "Nothing waits for an answer." },
  { id: "null", name: "Unlabelled", kind: "value", all: "all that are unlabelled", none: "No unlabelled item waits." },
  { id: "unsure", name: "Unsure", kind: "limit", all: "all automatic labels", none: "No automatic label near the threshold waits." },
  { id: "conflicts", name: "Conflicts", kind: "conflict", all: "all in conflict", none: "No references disagree, and no people." },
  { id: "kinds", name: "New category?", kind: "new_kind", none: "No group looks like a new category." },
];
const SHOWN = 4;
const EARLY = 12;
const PAIRS_AHEAD = 2;
const WASH_MS = 900;
const AWAIT_MS = 800;

const closing = new Closing(localStorage);

class Review extends LitElement {
  constructor() {
    super();
    new Follow(this, store);
    new Hear(this, router, ["change"], () => (this.#sync(), this.requestUpdate()));
    new Hear(this, live, ["changed"], (event) => (this.#merge(event.detail.documents), this.#await()));
    new Hear(this, live, ["refetch"], () => this.queue.renew());
    new Hear(this, window, ["lk-undone"], (event) => this.#undone(event.detail.operation));
    this.of = "";
    /** The strip that was wholly taken last: taken again, all is. */
    this.taken = "";
    this.queue = new Queue(async () => ({ results: [] }));
    /** @type {Set<string>} */
    this.changed = new Set();
    this.isAwaiting = false;
    /** @type {Set<string>} */
    let before = new Set();
    /** @type {Set<string>} */
    let kept = new Set();
    this.band = new Band({
      seen: () => 0,
      begin: (adds) => ((before = this.queue.strip?.out ?? new Set()), (kept = adds ? before : new Set())),
      span: (box) => this.#leaveOut(new Set([...kept, ...this.#under(box)])),
      end: (isKept) => isKept || this.#leaveOut(before),
    });
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    const [inStrips, inPairs, onSheet] = [() => !this.isGrid && !this.isPair, () => this.isPair, () => this.isOnSheet];
    this.ends = [
      keyboard.bind("items", this.#movements(), { isOn: inStrips }),
      keyboard.bind("items", this.#turns(), { isOn: inPairs }),
      keyboard.bind("decide", this.#decisions(), { isOn: () => !this.isGrid }),
      keyboard.bind("items", this.#acrossSheet(), { isOn: onSheet }),
      keyboard.bind("decide", this.#onSheet(), { isOn: onSheet }),
      keyboard.bind("decide", { allLabels: () => this.#answerClosing(true), otherLabels: () => this.#answerClosing(false) }, { isOn: () => this.mayBeAll }),
      keyboard.bind("everywhere", { fresh: () => this.#begin(), close: () => this.#close() }),
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

  get isPair() {
    return router.route.params.view === "pair";
  }

  /** Whether to ask if there are no other labels. */
  get mayBeAll() {
    return !this.isGrid && closing.isDue(fieldHere(), { known: knownLabels(), isClosed: ruleHere()?.closed_set });
  }

  /** Whether what is asked is a sheet. */
  get isOnSheet() {
    return !this.isGrid && !this.isPair && isSheet(this.queue.strip);
  }

  /** The two that are side by side. */
  get pair() {
    return /** @type {any} */ (this.querySelector("lk-pair"));
  }

  get showsMachine() {
    return this.tab.id === "unsure" || this.isPair;
  }

  /** What Enter accepts, or null. */
  get answer() {
    const { strip } = this.queue;
    if (this.isPair) return this.pair?.other?.label ?? null;
    return strip ? answerOf(strip, this.showsMachine) : null;
  }

  get commands() {
    const views = [["", "in groups"], ["grid", "as a grid"], ["pair", "in pairs"]].map(([view, name]) => ({ name: `Review ${name}`, hint: view === "pair" ? hint("pair") : "", run: () => this.#show(view) }));
    return [...views, ...TABS.map((one) => ({ name: `Review: ${one.name}`, hint: "", run: () => router.go("review", { tab: one.id }) }))];
  }

  /** Show what is asked in another density. @param {string} view */
  #show(view) {
    router.go("review", { tab: router.route.params.tab ?? "", view });
  }

  #sync() {
    const { collection, field } = store.state;
    const { of: ids = "" } = router.route.params;
    const of = `${collection}/${field}/${this.tab.id}${this.isPair ? `/pairs/${ids}` : ""}`;
    if (router.route.page !== "review" || !field) return;
    if (of !== this.of) {
      this.of = of;
      this.#begin();
    } else if (!this.isGrid && !this.queue.isKnown) this.queue.fill();
  }

  #begin() {
    this.queue = new Queue((asked) => this.#ask(asked), { isFixed: this.isPair && Boolean(router.route.params.of), early: EARLY });
    this.queue.addEventListener("change", () => this.requestUpdate());
    if (!this.isGrid) this.queue.fill();
    this.requestUpdate();
  }

  /** Read what is asked: in pairs one document after the other. @param {{limit: number}} asked */
  async #ask(asked) {
    const { field } = store.state;
    const { of } = router.route.params;
    if (this.isPair && of) return { results: (await byIds(of.split(","))).map((doc) => alone(doc)), snapshot: "", next_offset: null };
    const told = await api.get(here("/queue"), { ...asked, field, kind: this.tab.kind });
    if (!this.isPair) return told;
    const mayShow = (/** @type {any} */ question, /** @type {any} */ doc) => this.tab.id === "unsure" || question.documents.length > 1 || question.opinions.length || !doc.labels[field].label;
    return { ...told, results: told.results.flatMap((/** @type {any} */ one) => one.documents.flatMap((/** @type {any} */ doc, /** @type {number} */ place) => (mayShow(one, doc) ? [{ ...one, documents: [doc], suggestions: [one.suggestions?.[place] ?? null] }] : []))) };
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
    return {
      left: step(-1), right: step(1), up: () => this.#step(-this.#perRow()), down: () => this.#step(this.#perRow()),
      next: () => this.queue.move(1), previous: () => this.queue.move(-1),
      first: () => this.#to(0), last: () => this.#to(-1),
      toggle: () => this.#toggle(this.queue.strip?.at ?? 0),
      extendRight: () => (this.#toggle(this.queue.strip?.at ?? 0), this.#step(1)),
      extendLeft: () => (this.#toggle(this.queue.strip?.at ?? 0), this.#step(-1)),
      all: () => this.#all(), view: () => this.#look(), crop: () => this.#look(), pair: () => this.#show("pair"), larger: () => resize(16), smaller: () => resize(-16),
    };
  }

  /** What keys move where two are side by side. @returns {import("./keys.js").Handlers} */
  #turns() {
    const move = (/** @type {number} */ by) => () => this.queue.move(by);
    return {
      left: () => this.pair?.turn(-1), right: () => this.pair?.turn(1), up: move(-1), down: move(1), previous: move(-1), next: move(1),
      view: () => this.#look(), crop: () => this.pair?.crop(), pair: () => this.#leave(), larger: () => this.pair?.enlarge(1), smaller: () => this.pair?.enlarge(-1),
    };
  }

  /** @returns {import("./keys.js").Handlers} */
  #decisions() {
    return {
      accept: () => this.#accept(), label: () => this.#askLabel(),
      slot: (digit) => this.#useSlot(Number(digit)), same: () => (slots.last ? this.#label(slots.last) : tell("There is no label yet to give again.")),
      reject: () => this.#reject(), cannotTell: () => this.#say("can't tell", answers.cannotTell),
      newKind: () => this.#say("a new category", answers.newKind), skip: () => this.#skip(),
      why: () => this.#why(), similar: () => this.#similar(), promote: () => this.#promote(), demote: () => this.#demote(),
    };
  }

  /** How one moves on a sheet, which does not go round. @returns {import("./keys.js").Handlers} */
  #acrossSheet() {
    const by = (/** @type {number} */ rows) => () => {
      const { at = 0, documents = [] } = this.queue.strip ?? {};
      const to = at + rows * this.#perRow();
      if (documents[to]) this.#to(to);
    };
    return { up: by(-1), down: by(1) };
  }

  /** What is said on a sheet: of the item that one is at, but for Enter. @returns {import("./keys.js").Handlers} */
  #onSheet() {
    const mark = (/** @type {import("./sheets.js").Mark} */ one) => () => this.#mark(one);
    return {
      accept: () => this.#confirm(), reject: mark({ verdict: "out" }), newKind: mark({ verdict: "new_kind" }), cannotTell: mark({ verdict: "cannot_tell" }),
      promote: () => tell(`${hint("accept", "decide")} confirms all that is left.`),
    };
  }

  /** Note on the sheet what the item is that one is at; null: what it is called. @param {import("./sheets.js").Mark | null} mark */
  #mark(mark) {
    const { strip } = this.queue;
    if (!strip || strip.state !== "open") return;
    put(strip, strip.at, mark);
    this.requestUpdate();
  }

  /** Answer the sheet: all that nobody marked is what it is called. */
  #confirm() {
    const { strip, queue } = this;
    if (!strip || strip.state !== "open") return;
    const said = answersOf(strip);
    if (!Object.values(said).some((one) => one.length)) return tell(`Nothing is left to be confirmed. ${hint("skip")} skips the sheet.`);
    closing.note(fieldHere(), said.labels.map((one) => one.label), { known: knownLabels(), isSheet: true });
    const what = toldOf(strip);
    queue.say(strip, `✓ ${what}`);
    answers.sheet(said, this.#how(queue, strip, what));
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
    if (this.isOnSheet) this.updateComplete.then(() => this.querySelector(".checks .tile.here")?.scrollIntoView({ block: "nearest" }));
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
    if (!strip || (strip.documents.length < 2 && !this.isOnSheet)) return;
    const id = strip.documents[place].document_id;
    strip.at = place;
    if (this.isOnSheet) return this.#mark(strip.marks.has(id) ? null : { verdict: "out" });
    if (!strip.out.delete(id)) strip.out.add(id);
    this.requestUpdate();
  }

  /** Leave nothing of the strip out; asked for again, select all that the tab is about, in the grid. */
  #all() {
    const { strip, tab } = this;
    if (!strip) return;
    if (this.isOnSheet) return strip.marks.clear(), this.requestUpdate();
    if (this.taken === strip.key && tab.all) return router.go("review", { tab: tab.id, view: "grid", all: "1" });
    this.taken = strip.key;
    this.#leaveOut(new Set());
    tell(`All ${strip.documents.length} of this group${tab.all ? `. ${hint("all")} again selects ${tab.all}` : ""}.`, { id: "all" });
  }

  /** @param {Set<string>} out the documents that are not meant */
  #leaveOut(out) {
    const { strip } = this.queue;
    if (!strip || strip.documents.length < 2) return;
    strip.out = out;
    this.requestUpdate();
  }

  /** Return the documents of the strip that are under a rectangle. @param {import("./band.js").Box} box */
  #under({ left, right, top, bottom }) {
    const list = this.querySelector(".strip.here .tiles");
    const from = list?.getBoundingClientRect();
    if (!list || !from) return [];
    const touched = [...list.querySelectorAll(".tile")].map((one, at) => ({ at, box: one.getBoundingClientRect() })).filter(({ box }) => box.left - from.left <= right && box.right - from.left >= left && box.top - from.top <= bottom && box.bottom - from.top >= top);
    return touched.flatMap(({ at }) => this.queue.strip?.documents[at].document_id ?? []);
  }

  #close() {
    if (this.isPair) return store.get("drawer") ? false : this.#leave();
    if (this.isGrid || !this.queue.strip?.out.size) return false;
    this.#leaveOut(new Set());
  }

  /** Go back to where the two came from. */
  #leave() {
    if (router.route.params.of) history.back();
    else this.#show("");
  }

  #look() {
    const { strip } = this.queue;
    if (!strip) return;
    if (this.isPair) return this.#lookAtBoth(strip.documents[0], this.pair?.other?.doc);
    const beside = (/** @type {number} */ by) => (this.#step(by), strip.documents[strip.at]);
    /** @type {any} */ (this.querySelector("lk-view")).open(strip.documents[strip.at], beside);
  }

  /** Show one of two large, and the other in its place. @param {any} doc @param {any} other */
  #lookAtBoth(doc, other) {
    let shown = doc;
    /** @type {any} */ (this.querySelector("lk-view")).open(doc, () => (shown = shown === doc && other ? other : doc));
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
    const { answer } = this;
    const other = this.isPair ? this.pair?.other?.doc : null;
    if (answer) this.#label(answer);
    else this.#askLabel(other ? [other] : []);
  }

  /** @param {number} digit */
  #useSlot(digit) {
    const label = slots.at(digit);
    if (label) this.#label(label);
    else tell(`Number ${digit} has no label yet: the next label that you type gets it.`);
  }

  /** @param {any[]} [others] what gets the label as well */
  #askLabel(others = []) {
    const { strip } = this.queue;
    if (!strip) return;
    const known = knownLabels();
    const isOnSheet = this.isOnSheet;
    const names = [...new Set([...near(isOnSheet ? [strip.documents[strip.at]] : strip.documents), ...known])];
    choose({
      title: !isOnSheet && strip.documents.length + others.length > 1 ? "What are they?" : "What is it?",
      placeholder: known.length ? "A few letters, or a new name" : "Type a name",
      choices: names.map((name) => ({ name, hint: slots.of(name) ? String(slots.of(name)) : "" })),
      take: (name) => this.#label(name, others),
      create: (name) => this.#label(name, others),
    });
  }

  /** @param {string} label @param {any[]} [others] */
  #label(label, others = []) {
    if (this.isOnSheet) return slots.use(label), this.#mark({ label });
    closing.note(fieldHere(), [label], { known: knownLabels() });
    this.#say(label, (documents, how) => answers.label([...documents, ...others], label, { asked: true, ...how }));
  }

  #reject() {
    const { strip } = this.queue;
    if (!strip) return;
    const label = this.answer;
    if (!label) return tell(`No label is suggested here that you could reject. ${hint("newKind")}: new category, ${hint("cannotTell")}: can't tell.`);
    this.#say(`not ${label}`, (documents, how) => answers.reject(documents, documents.map(() => label), how));
  }

  /** Use automatic labels as references, without naming them. */
  #promote() {
    const { strip } = this.queue;
    if (!strip) return;
    const some = meant(strip).filter((doc) => standingOf(doc)?.origin === "auto");
    if (!some.length || (!this.showsMachine && strip.documents.length < 2)) return tell("Nothing here has an automatic label that could become a reference.");
    this.#say("used as a reference", (_, how) => answers.promote(some, how));
  }

  /** Take out a reference: the one beside, or the item that one is at. */
  #demote() {
    const { strip } = this.queue;
    const doc = this.isPair ? this.pair?.other?.doc : strip?.documents[strip.at];
    if (doc) answers.demote([doc], this.isPair ? { done: () => this.pair?.again() } : {});
  }

  #skip() {
    const { strip } = this.queue;
    if (strip) this.queue.skip(strip);
  }

  /**
   * Answer the group that is asked, and go on. What the server refuses is told, and one stays where one is.
   * @param {string} what @param {(documents: any[], how: import("./answers.js").How) => void} send
   */
  #say(what, send) {
    const { strip, queue } = this;
    if (!strip || strip.state === "said") return;
    const documents = meant(strip);
    if (!documents.length) return tell("Every item is X-ed out: nothing is left to be answered.");
    const count = documents.length > 1 ? `${documents.length} × ` : "";
    queue.say(strip, `✓ ${count}${what}`);
    send(documents, this.#how(queue, strip, `${count}${what}`));
  }

  /** What follows an answer. @param {Queue} queue @param {import("./queue.js").Strip} strip @param {string} what @returns {import("./answers.js").How} */
  #how(queue, strip, what) {
    return {
      what,
      back: (failure) => this.#refused(queue, strip, failure),
      show: () => this.#return(queue, strip),
      done: (told) => queue.settle(strip, told.operation_id),
    };
  }

  /** @param {Queue} queue @param {import("./queue.js").Strip} strip @param {import("./api.js").Failure} failure */
  #refused(queue, strip, { code, details }) {
    const answers = /** @type {[string, any][]} */ (Object.entries(details.answers ?? {}));
    const now = answers.map(([id, { kind, label }]) => /** @type {[string, any]} */ ([id, { label: kind === "labelled" ? label : null, origin: kind === "labelled" ? "human" : null, revision: details.revisions[id] }]));
    queue.merge(new Map(now), store.get("field"));
    queue.refuse(strip, code === "stale" ? "Answered by somebody else" : "");
  }

  /** Go to a group whose answer was refused, if it is still there. @param {Queue} queue @param {import("./queue.js").Strip} strip */
  #return(queue, strip) {
    if (queue === this.queue && this.isConnected) queue.reopen(strip);
    else router.go("review");
  }

  get strip() {
    return this.queue.strip;
  }

  updated() {
    if (this.isGrid || this.isPair || document.querySelector("dialog[open]")) return;
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
        ${[["", "In groups"], ["grid", "As a grid"], ["pair", "In pairs"]].map(([view, name]) => (view === (router.route.params.view ?? "") ? nothing : html`<a href=${router.to("review", { tab: router.route.params.tab ?? "", view })}>${name}${view === "pair" ? html` <kbd>${hint("pair")}</kbd>` : nothing}</a>`))}
      </div>
      ${report && !this.isOnSheet ? standing(report) : nothing}
      ${this.mayBeAll ? this.#closing() : nothing}
      ${this.isGrid ? html`<lk-grid></lk-grid>` : this.isPair ? this.#pairs() : this.#strips()} <lk-view></lk-view>`;
  }

  /** Whether these are all the labels. */
  #closing() {
    const names = knownLabels().map((one) => one.split(" > ").at(-1)).sort();
    return html`<div class="note row ask" role="group" aria-label="Are these all the labels?"><b>Are these all the labels?</b> <span>${names.join(", ")}</span><span class="spring"></span>
      <button @click=${() => this.#answerClosing(true)}>Yes <kbd>${hint("allLabels")}</kbd></button><button @click=${() => this.#answerClosing(false)}>There may be others <kbd>${hint("otherLabels")}</kbd></button></div>`;
  }

  /** @param {boolean} isAll whether the labels that there are are all */
  async #answerClosing(isAll) {
    const { field, collections, collection } = store.state;
    closing.end(fieldHere());
    this.requestUpdate();
    if (!isAll) return;
    try {
      const told = await api.send("PATCH", here(""), { taxonomy: { field_to_enrich: field, closed_set: true } });
      store.set({ collections: collections.map((/** @type {any} */ one) => (one.collection_name === collection ? told : one)) });
      tell(`These are all the labels now. The history (${hint("history")}) can take that back.`, { kind: "good" });
    } catch (error) {
      tell(`The set of labels stays open: ${/** @type {Error} */ (error).message}`, { kind: "bad", stays: true });
    }
  }

  #strips() {
    const { queue } = this;
    const strips = queue.strips.slice(queue.at, queue.at + SHOWN);
    const first = queue.strip;
    if (first && isSheet(first)) return html`<div class="strips wide">${this.#before()}${this.#sheet(first)}</div>`;
    return this.#missing() ?? html`<div class="strips" @pointerdown=${this.#press} @click=${{ capture: true, handleEvent: (/** @type {Event} */ event) => this.band.click(event) }}>
      ${this.#before()}
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

  /** @param {import("./queue.js").Strip} strip */
  #sheet(strip) {
    return html`${sheetView(strip, {
      field: store.get("field"), changed: this.changed, place: this.queue.at, run: (id) => this.#run(id),
      onPick: (at) => this.#toggle(at), onOpen: (at) => (this.#to(at), this.#look()),
    })}${strip.state === "open" ? this.#slotBar() : nothing}`;
  }

  /** What is shown where no question is there to be shown. */
  #missing() {
    const { queue } = this;
    if (queue.trouble && !queue.strip) return html`<div class="empty"><h1>The questions could not be loaded</h1><p>${queue.trouble}</p><button @click=${() => queue.fill()}>Try again</button></div>`;
    return queue.isKnown ? null : html`<p class="empty dim">Looking for the best question…</p>`;
  }

  /** What was answered before. */
  #before() {
    const before = this.queue.strips[this.queue.at - 1];
    return html`<p class="before">${before ? html`<span class=${before.state === "said" ? "green" : "dim"}>${before.said || "before"}</span>` : nothing}</p>`;
  }

  /** @param {PointerEvent} event */
  #press(event) {
    const list = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest(".strip.here .tiles:not(.alone)"));
    if (list) this.band.press(event, list);
  }

  #pairs() {
    const { queue, answer } = this;
    const { strip } = queue;
    if (!strip) return this.#missing() ?? html`<div class="strips">${this.#before()}${this.#end()}</div>`;
    const [doc] = strip.documents;
    const next = queue.strips.slice(queue.at + 1, queue.at + 1 + PAIRS_AHEAD).map((one) => one.documents[0]);
    const question = answer ? html`Is this <b>${answer}</b>, too?` : this.pair?.other ? "Are these two the same?" : "What is this?";
    return html`<section class="strips pairs" aria-label=${`Question ${queue.at + 1}`}>
      ${this.#before()}
      <header><h2>${strip.state === "open" ? question : html`<span class=${strip.state === "said" ? "green" : "dim"}>${strip.said}</span>`}</h2>
        <span class="dim">${strip.opinions.length ? html`People disagree: ${opinionsOf(strip)}` : router.route.params.of && queue.strips.length > 1 ? `${queue.at + 1} of ${queue.strips.length}` : ""}</span></header>
      <lk-pair .doc=${doc} .next=${next} .beside=${router.route.params.beside ?? ""} @known=${() => this.requestUpdate()}></lk-pair>
      ${commandBar({ answer, many: false, isPair: true, mayBeSame: Boolean(this.pair?.other), run: (id) => this.#run(id) })}
      ${this.#slotBar()}
    </section>`;
  }

  #slotBar() {
    const used = [1, 2, 3, 4, 5, 6, 7, 8, 9].filter((digit) => slots.at(digit));
    return html`<div class="slots row" role="group" aria-label="Labels by number">${used.map((digit) => html`<button class="slot" @click=${() => this.#useSlot(digit)}><kbd>${digit}</kbd> ${slots.at(digit)}</button>`)}</div>`;
  }

  /** What is shown where nothing is left to be asked. */
  #end() {
    const { queue } = this;
    const waiting = store.get("report")?.waiting;
    if (waiting && !queue.strips.length) return html`<div class="empty"><h1>${waiting.toLocaleString()} are being read</h1><p>The first groups come in a moment.</p></div>`;
    if (!queue.isOver && !queue.isFixed) return html`<p class="empty dim">Looking for the next questions…</p>`;
    const none = queue.skipped ? "Only what you skipped is left." : queue.strips.length ? "That is all for now." : this.tab.none;
    return html`<div class="empty"><h1>${none}</h1><p>${waiting ? `${waiting.toLocaleString()} are being read. ` : ""}New items and changed suggestions appear here automatically.</p>
      ${router.route.params.of ? html`<button class="main" @click=${() => this.#leave()}>Back <kbd>Esc</kbd></button>` : html`<button class="main" @click=${() => this.#begin()}>${queue.skipped ? "Ask about it again" : "Look again"} <kbd>${hint("fresh")}</kbd></button>`}</div>`;
  }

  /** @param {string} id */
  #run(id) {
    const found = { ...this.#decisions(), ...(this.isPair ? this.#turns() : this.#movements()), ...(this.isOnSheet ? this.#onSheet() : {}) }[id];
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

/** Whether it labels automatically, and what is missing. @param {any} report */
function standing(report) {
  if (!report.missing?.length || report.state !== "suggests only") return nothing;
  return html`<p class="note"><b>Preview.</b> It only suggests so far. To label automatically it needs: ${report.missing.join("; ")}.</p>`;
}

/** The labels of what documents look like, by their name so as to say nothing of which is likely. @param {any[]} documents */
function near(documents) {
  const names = documents.flatMap((doc) => (doc.taxonomy_match?.neighbors ?? []).map((/** @type {any} */ one) => one.label));
  return [...new Set(names)].sort();
}

/** @param {number} by */
function resize(by) {
  const root = document.documentElement;
  const now = parseInt(getComputedStyle(root).getPropertyValue("--tile"), 10) || 132;
  root.style.setProperty("--tile", `${Math.max(84, Math.min(260, now + by))}px`);
}

/** A question about one document, asked by nobody but who looks at it. @param {any} doc */
function alone(doc) {
  return { documents: [doc], suggestion: null, worth: 0, kind: "", place: "", opinions: [] };
}

/** The field that is shown, among all. */
function fieldHere() {
  return `${api.namespace}/${store.get("collection")}/${store.get("field")}`;
}

/** How a document stands in the field that is shown. @param {any} doc */
function standingOf(doc) {
  return doc.labels[store.get("field")];
}

customElements.define("lk-review", Review);
