// References: what does it know? The labels as a tree, the references of each, and what they caused.

import { html, LitElement, nothing } from "./vendor/lit.js";
import { act } from "./answers.js";
import { choose } from "./choose.js";
import { hint } from "./keys.js";
import { leafOf } from "./looks.js";
import { doubtful, healthOf, isWithin, problemsOf } from "./problems.js";
import { api, here, keyboard, live, outbox, router, store } from "./session.js";
import { keepVersion, retireVersion, Shaping } from "./shaping.js";
import { Follow, Hear } from "./store.js";
import { face, markOf, tile, wordsOf } from "./tile.js";
import "./view.js";

const MOST = 300;
const SHOWN_CAUSED = 24;
const MOST_PAIRS = 50;
const CALM_MS = 250;
const WORRIES = "";
const GIVEN = { human: "said by", import: "imported by", promoted: "promoted by", auto: "by itself" };

class References extends LitElement {
  constructor() {
    super();
    new Follow(this, store);
    new Hear(this, live, ["changed", "refetch"], () => this.#soon());
    new Hear(this, router, ["change"], () => this.tree && (router.route.params.label ?? this.shown) !== this.shown && this.#open(router.route.params.label));
    this.of = "";
    this.turn = 0;
    this.trouble = "";
    /** @type {any} */
    this.tree = null;
    /** @type {Map<string, import("./problems.js").Doubtful>} */
    this.problems = new Map();
    /** @type {Map<string, string[]>} */
    this.health = new Map();
    this.isInspected = false;
    /** @type {string | null} */
    this.shown = null;
    /** @type {any[] | null} */
    this.documents = null;
    this.at = 0;
    this.pane = "labels";
    /** @type {Set<string>} what is said to be wrong, before the server has answered */
    this.out = new Set();
    /** @type {Set<string>} */
    this.marked = new Set();
    /** @type {{of: string, documents: any[], total: number} | null} what the reference has labelled */
    this.caused = null;
    /** @type {any[]} */
    this.versions = [];
    /** @type {any} */
    this.compared = null;
    /** @type {Map<string, string>} what labels were called before they were renamed here */
    this.was = new Map();
    this.shaping = new Shaping({
      path: () => this.#path, field: () => this.tree.owner_field, labels: () => this.nodes, preview: () => /** @type {any} */ (this.querySelector("lk-preview")),
      open: (label, was) => this.#reopen(label, was), given: (label) => this.#given(label),
    });
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    const step = (/** @type {number} */ by) => () => this.#step(by);
    const move = (/** @type {() => number} */ by) => () => (this.pane === "tiles" ? this.#move(by()) : false);
    const shape = (/** @type {(label: string) => void} */ verb) => () => (this.shown ? verb(this.shown) : false);
    const { shaping } = this;
    this.ends = [
      keyboard.bind("items", {
        left: move(() => -1), right: move(() => 1), up: move(() => -this.columns), down: move(() => this.columns),
        first: move(() => -Infinity), last: move(() => Infinity), toggle: () => this.#mark(), view: () => this.#look(), pair: () => this.#pair(),
      }),
      keyboard.bind("decide", { demote: () => this.#wrong(), reject: () => this.#wrong(), label: () => this.#ask(), why: () => this.#why() }),
      keyboard.bind("wall", {
        open: () => this.#enter(), keep: () => this.#keep(),
        down: (token) => (this.pane === "labels" || token === "j" ? step(1)() : false), up: (token) => (this.pane === "labels" || token === "k" ? step(-1)() : false),
        rename: shape((label) => shaping.rename(label)), merge: shape((label) => shaping.merge(label)), retire: shape((label) => shaping.retire(label)),
        split: shape((label) => shaping.split(label, [...this.marked])), describe: shape(() => shaping.describe(this.node)), alias: shape(() => shaping.alias(this.node)),
      }),
      keyboard.bind("everywhere", { close: () => this.#leave() }),
    ];
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    for (const end of this.ends ?? []) end();
    clearTimeout(this.timer);
  }

  get commands() {
    const { node, shaping } = this;
    const verbs = node ? [
      { name: `Rename ${node.label}`, hint: hint("rename", "wall"), run: () => shaping.rename(node.label) }, { name: `Merge ${node.label}`, hint: hint("merge", "wall"), run: () => shaping.merge(node.label) },
      { name: `Retire ${node.label}`, hint: hint("retire", "wall"), run: () => shaping.retire(node.label) },
    ] : [];
    return [...verbs, { name: "Keep this point as a version", hint: hint("keep", "wall"), run: () => this.#keep() }];
  }

  updated() {
    const of = `${store.get("collection")}/${store.get("field")}`;
    if (!store.get("field") || of === this.of) return;
    Object.assign(this, { of, tree: null, shown: null, documents: null, caused: null, isInspected: false, problems: new Map(), versions: [], compared: null });
    this.#read();
  }

  // --- what the server has -------------------------------------------------------------------------

  #soon() {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.#read(), CALM_MS);
  }

  get #path() {
    const { collection, field } = store.state;
    return `/taxonomies/${encodeURIComponent(`${collection}_${field}`)}/labels`;
  }

  get #owner() {
    return `/collections/${encodeURIComponent(this.tree.owner_id)}`;
  }

  /** Read the labels, repaint what is shown, then look for what may be wrong: that takes longest. */
  async #read() {
    const { of } = this;
    const { field } = store.state;
    const turn = ++this.turn;
    const isOld = () => of !== this.of || turn !== this.turn || !this.isConnected;
    try {
      const [tree, versions] = await Promise.all([api.get(this.#path, { field }), api.get(here("/versions"), { field })]);
      if (isOld()) return;
      Object.assign(this, { tree, versions: versions.results, trouble: "" });
      const { shown } = this;
      if (shown && !this.node) return this.#reopen(this.was.get(shown) ?? WORRIES);
      const isBare = !this.documents?.length;
      if (shown !== null && !isBare) await this.#repaint();
      const inspection = await this.#inspected();
      if (isOld()) return;
      Object.assign(this, { problems: problemsOf(inspection), health: healthOf(inspection), isInspected: true });
      if (this.shown === null) return this.#open(this.#first());
      if (this.shown === WORRIES || isBare) await this.#repaint();
    } catch (error) {
      this.trouble = /** @type {Error} */ (error).message;
    }
    this.requestUpdate();
  }

  async #repaint() {
    this.requestUpdate();
    await this.#fetch(this.shown ?? WORRIES);
    if (!outbox.waiting.length) this.out.clear();
    this.#follow(true);
  }

  /** What may be wrong; people may disagree about what is no reference, which does no harm. */
  async #inspected() {
    const inspection = await api.get(here("/analytics/references"), { field: store.get("field") });
    const ids = inspection.contested.slice(0, MOST);
    const voting = { AND: [{ field: "document_id", operator: "in", value: ids }, is(`labels.${this.tree.owner_field}.is_reference`, true)] };
    const found = await this.#list(this.#owner, voting, ids.length);
    return { ...inspection, contested: found.results.map((/** @type {any} */ one) => one.document_id) };
  }

  #first() {
    const { label } = router.route.params;
    if (this.nodes.some((one) => one.label === label)) return label;
    return this.worries.length ? WORRIES : (this.nodes.find((one) => votes(one.own))?.label ?? WORRIES);
  }

  /** Show a label that was just made of another one. @param {string} label @param {string} [was] */
  async #reopen(label, was) {
    if (!this.isConnected) return;
    if (was && was !== label) this.was.set(label, was);
    this.shown = null;
    router.set({ label });
    await this.#read();
  }

  /** @param {string} label */
  async #open(label) {
    Object.assign(this, { shown: label, documents: null, at: 0, caused: null, marked: new Set() });
    router.set({ label });
    this.requestUpdate();
    await this.#fetch(label);
    this.#follow();
  }

  /** Read the references of a label: what may be wrong comes first; what is shown already stays where it is. @param {string} label */
  async #fetch(label) {
    const first = doubtful(this.problems, label);
    const field = this.tree.owner_field;
    const chosen = { AND: [is(`labels.${field}.is_reference`, true), { OR: [is(`labels.${field}.label`, label), { ...is(`labels.${field}.label`, `${label} > `), operator: "starts_with" }] }] };
    const old = this.documents?.map((one) => one.document_id) ?? [];
    const wanted = [...new Set([...old, ...first])].slice(0, 1000);
    try {
      const [named, listed] = await Promise.all([this.#list(this.#owner, { field: "document_id", operator: "in", value: wanted }, wanted.length), label ? this.#list(this.#owner, chosen, MOST) : { results: [] }]);
      if (label !== this.shown) return;
      const found = new Map([...named.results, ...listed.results].map((one) => [one.document_id, one]));
      const order = new Set([...wanted, ...listed.results.map((/** @type {any} */ one) => one.document_id)]);
      this.documents = [...order].flatMap((id) => found.get(id) ?? []);
    } catch (error) {
      this.trouble = /** @type {Error} */ (error).message;
    }
    this.requestUpdate();
  }

  /** @param {string} path @param {any} filters @param {number} limit */
  async #list(path, filters, limit) {
    return limit ? api.post(`${path}/documents/list`, { filters, limit }) : { results: [], total_count: 0 };
  }

  /** Read what the reference that is looked at has labelled; what it had labelled stays. */
  async #follow(again = false) {
    const { doc, caused } = this;
    if (!doc || (caused?.of === doc.document_id && !again)) return;
    const of = doc.document_id;
    const match = `taxonomy_match.${store.get("field")}`;
    const kept = caused && caused.of === of ? caused.documents.map((one) => one.document_id) : [];
    try {
      const [now, before] = await Promise.all([
        this.#list(here(""), { AND: [is(`${match}.source_document_id`, of), is(`${match}.matched`, true)] }, SHOWN_CAUSED),
        this.#list(here(""), { field: "document_id", operator: "in", value: kept }, kept.length),
      ]);
      if (this.doc?.document_id !== of) return;
      const found = new Map([...before.results, ...now.results].map((one) => [one.document_id, one]));
      const order = [...new Set([...kept, ...now.results.map((/** @type {any} */ one) => one.document_id)])];
      this.caused = { of, documents: order.flatMap((id) => found.get(id) ?? []).slice(0, SHOWN_CAUSED), total: now.total_count ?? now.results.length };
    } catch (error) {
      this.trouble = /** @type {Error} */ (error).message;
    }
    this.requestUpdate();
  }

  /** Return the ids of all to which somebody gave a label. @param {string} label */
  async #given(label) {
    const field = this.tree.owner_field;
    const chosen = { AND: [is(`labels.${field}.label`, label), { field: `labels.${field}.origin`, operator: "in", value: ["human", "import", "promoted"] }] };
    return (await this.#list(this.#owner, chosen, 1000)).results.map((/** @type {any} */ one) => one.document_id);
  }

  // --- where one is --------------------------------------------------------------------------------

  /** @returns {any[]} */
  get nodes() {
    return this.tree?.labels ?? [];
  }

  get node() {
    return this.nodes.find((one) => one.label === this.shown);
  }

  get doc() {
    return this.documents?.[this.at];
  }

  get worries() {
    return doubtful(this.problems);
  }

  get columns() {
    const tiles = /** @type {HTMLElement[]} */ ([...this.querySelectorAll(".wall .tile")]);
    return tiles.filter((one) => one.offsetTop === tiles[0].offsetTop).length;
  }

  /** What votes no more, or has another label now. @param {any} doc */
  #isOut(doc) {
    const standing = this.#standing(doc);
    const label = this.problems.get(doc.document_id)?.label ?? this.shown ?? "";
    return this.out.has(doc.document_id) || !standing?.is_reference || (this.shown !== WORRIES && !isWithin(standing.label, label) && !isWithin(standing.label, this.shown ?? ""));
  }

  /** @param {any} doc */
  #standing(doc) {
    return doc.labels?.[this.tree.owner_field];
  }

  /** @param {number} by */
  #step(by) {
    const all = [WORRIES, ...this.nodes.map((one) => one.label)];
    const to = all[all.indexOf(this.shown ?? WORRIES) + by];
    if (to === undefined) return;
    this.#open(to);
    this.updateComplete.then(() => this.querySelector("[role=treeitem][aria-selected=true]")?.scrollIntoView({ block: "nearest" }));
  }

  #enter() {
    if (this.pane === "tiles" || !this.documents?.length) return false;
    /** @type {HTMLElement | null} */ (this.querySelector(".wall"))?.focus({ preventScroll: true });
  }

  #leave() {
    if (this.pane !== "tiles" || store.get("drawer")) return false;
    /** @type {HTMLElement | null} */ (this.querySelector("[role=tree]"))?.focus({ preventScroll: true });
  }

  /** @param {number} by */
  #move(by) {
    this.at = Math.max(0, Math.min((this.documents?.length ?? 1) - 1, this.at + by));
    this.requestUpdate();
    this.#follow();
    this.updateComplete.then(() => this.querySelector(".wall .here")?.scrollIntoView({ block: "nearest" }));
  }

  // --- what is said --------------------------------------------------------------------------------

  #mark() {
    const id = this.doc?.document_id;
    if (!id || this.pane !== "tiles") return false;
    if (!this.marked.delete(id)) this.marked.add(id);
    this.requestUpdate();
  }

  /** Say that the reference is not what it is called: what depended on it is decided again. */
  #wrong() {
    const { doc } = this;
    if (!doc || this.#isOut(doc)) return false;
    const { label } = this.#standing(doc);
    this.#say("/rejections", { rejections: [{ document_id: doc.document_id, label }] }, `${doc.file_name || "the reference"} is not ${label}`);
  }

  #ask() {
    if (!this.doc) return false;
    choose({ title: `What is ${this.doc.file_name}?`, placeholder: "Type a label", choices: this.nodes.filter((one) => !one.retired).map((one) => ({ name: one.label })), take: (name) => this.#correct(name), create: (name) => this.#correct(name) });
  }

  /** @param {string} label */
  #correct(label) {
    this.#say("/labels", { updates: [{ document_id: this.doc.document_id, label }] }, `${this.doc.file_name || "the reference"} is ${label}`);
  }

  /** @param {string} route @param {any} body @param {string} what */
  #say(route, body, what) {
    const id = this.doc.document_id;
    this.out.add(id);
    this.requestUpdate();
    const back = () => (this.out.delete(id), this.requestUpdate());
    act(`${this.#owner}${route}`, { ...body, field: this.tree.owner_field }, { what, back, done: () => this.#soon() });
  }

  #why(doc = this.doc) {
    if (!doc) return false;
    store.set({ drawer: "why", subject: doc.document_id });
  }

  #look() {
    if (!this.doc || this.pane !== "tiles") return false;
    /** @type {any} */ (this.querySelector("lk-view")).open(this.doc, (/** @type {number} */ by) => (this.#move(by), this.doc));
  }

  /** Show references beside what they may be confused with: the marked, the one that one is at, or those of the label. */
  #pair() {
    const documents = /** @type {any[]} */ (this.documents ?? []);
    const marked = documents.filter((one) => this.marked.has(one.document_id));
    const meant = marked.length ? marked : this.pane === "tiles" ? documents.slice(this.at, this.at + 1) : documents.slice(0, MOST_PAIRS);
    if (!meant.length) return false;
    const { owner_id: owner, owner_field: field } = this.tree;
    const ids = meant.map((one) => one.document_id);
    const [of, beside] = ids.length === 2 ? ids : [ids.join(","), ""];
    router.go("review", { c: owner.replace(/^col_/, ""), field, view: "pair", of, beside });
  }

  #keep() {
    keepVersion(here("/versions"), () => this.#soon());
  }

  /** @param {string} name */
  #retireVersion(name) {
    retireVersion(`${here("/versions")}/${encodeURIComponent(name)}/retire`, name, () => ((this.compared = null), this.#soon()));
  }

  /** @param {string} name */
  async #compare(name) {
    try {
      const told = await api.get(here("/versions/compare"), { before: name, field: store.get("field") });
      const parts = Object.values(told.references);
      const sum = (/** @type {"added" | "removed"} */ side) => parts.reduce((total, one) => total + one[side].length, 0);
      this.compared = { name, came: sum("added"), went: sum("removed"), relabelled: Object.keys(told.relabelled).length, decisions: Object.keys(told.decisions).length, arrived: told.arrived };
    } catch (error) {
      this.trouble = /** @type {Error} */ (error).message;
    }
    this.requestUpdate();
  }

  // --- what is drawn -------------------------------------------------------------------------------

  render() {
    const { tree, trouble } = this;
    if (!tree) return html`<p class="empty dim">${trouble || "…"}</p>`;
    if (!this.nodes.length) return html`<div class="empty"><h1>It knows nothing yet</h1><p>What you label becomes a reference: what looks like it gets its label. Here you see them all, and what may be wrong with them.</p><p><a class="button main" href=${router.to("review")}>Begin in Review <kbd>${hint("review")}</kbd></a></p></div>`;
    return html`<div class="known">
      ${this.#labels()}
      <section class="middle" aria-label="References">
        ${trouble ? html`<p class="trouble">${trouble}</p>` : nothing}
        ${this.#head()} ${this.#wall()}
      </section>
      ${this.doc ? this.#about(this.doc) : nothing}
      <lk-view></lk-view><lk-preview></lk-preview>
    </div>`;
  }

  #labels() {
    const total = this.nodes.reduce((sum, one) => sum + votes(one.own), 0);
    const place = this.nodes.findIndex((one) => one.label === this.shown);
    const pane = (/** @type {string} */ name) => () => ((this.pane = name), this.requestUpdate());
    return html`<section class="labels" aria-label="Labels and versions">
      <p class="dim">${total.toLocaleString()} references for ${this.nodes.filter((one) => votes(one.own)).length.toLocaleString()} labels</p>
      <div role="tree" aria-label="Labels" tabindex="0" aria-activedescendant=${`label-${place}`} @focus=${pane("labels")}>
        <div role="treeitem" id="label--1" class="worries" aria-level="1" aria-selected=${this.shown === WORRIES} @click=${() => this.#open(WORRIES)}><span>May be wrong</span><span class=${this.worries.length ? "amber" : "dim"}>${this.isInspected ? this.worries.length : "…"}</span></div>
        ${this.nodes.map((one, at) => this.#label(one, at))}
      </div>
      ${this.#past()}
    </section>`;
  }

  /** @param {any} one @param {number} at */
  #label(one, at) {
    const isAbove = votes(one.all) !== votes(one.own);
    return html`<div role="treeitem" id=${`label-${at}`} class="level-${Math.min(one.level, 5)} ${one.retired ? "retired" : ""}" aria-level=${one.level + 1} aria-selected=${one.label === this.shown} title=${one.description || one.label} @click=${() => this.#open(one.label)}>
      <span>${one.name}${one.retired ? " (retired)" : ""}</span>${this.health.has(one.label) ? html`<span class="amber" title=${this.health.get(one.label)?.join(" ")}>${this.health.get(one.label)?.some((said) => said.startsWith("Confused")) ? "⇄" : "thin"}</span>` : nothing}<span class="dim">${votes(isAbove ? one.all : one.own)}</span></div>`;
  }

  #head() {
    const { node } = this;
    const { shaping } = this;
    if (!node) {
      const count = this.worries.length;
      return html`<header><h1>${!this.isInspected ? "Looking at every reference …" : count ? `${count === 1 ? "One reference" : `${count.toLocaleString()} references`} may be wrong` : "No reference looks wrong"}</h1>
        <p class="dim">${count ? "Each is more like another label, is contradicted, or caused labels that people corrected." : "None is clearly like another label, contradicted, or to blame for what people corrected."}</p></header>`;
    }
    const verb = (/** @type {string} */ id, /** @type {string} */ name, /** @type {() => void} */ run) => html`<button class="quiet" @click=${run}>${name} <kbd>${hint(id, "wall")}</kbd></button>`;
    return html`<header><h1>${node.label}</h1>
      <p>${node.description ? html`${node.description} ` : nothing}<span class="dim">${told(node)}${node.aliases.length ? ` · also called ${node.aliases.join(", ")}` : ""}</span></p>
      ${(this.health.get(node.label) ?? []).map((said) => html`<p class="amber">${said}</p>`)}
      <div class="row">${verb("rename", "Rename", () => shaping.rename(node.label))}${verb("merge", "Merge", () => shaping.merge(node.label))}${this.marked.size ? verb("split", `Split off ${this.marked.size}`, () => shaping.split(node.label, [...this.marked])) : nothing}${node.retired ? nothing : verb("retire", "Retire", () => shaping.retire(node.label))}${verb("describe", "Describe", () => shaping.describe(node))}${verb("alias", "Other name", () => shaping.alias(node))}</div></header>`;
  }

  #wall() {
    const { documents } = this;
    if (!documents) return html`<p class="dim">…</p>`;
    if (!documents.length) return this.node ? html`<p class="dim">Nothing votes for this label.</p>` : nothing;
    const isMixed = this.shown === WORRIES || votes(this.node?.all) !== votes(this.node?.own);
    const pick = (/** @type {number} */ at) => () => ((this.at = at), this.#move(0));
    return html`<div class="wall" role="listbox" tabindex="0" aria-label=${this.node ? `References of ${this.node.label}` : "References that may be wrong"} aria-multiselectable="true" aria-activedescendant=${`reference-${this.at}`} @focus=${() => ((this.pane = "tiles"), this.requestUpdate())}>
      ${documents.map((doc, at) => {
        const worry = this.problems.get(doc.document_id)?.problems[0];
        const label = this.#standing(doc)?.label;
        const isOut = this.#isOut(doc);
        return tile(doc, {
          id: `reference-${at}`, field: this.tree.owner_field, isOut, isHere: at === this.at, isSelected: this.marked.has(doc.document_id), at: at + 1, of: documents.length,
          shows: isMixed && label ? `${markOf(this.#standing(doc))} ${leafOf(label)}` : "", flag: isOut ? "" : worry?.flag, isBad: worry?.isBad, onPick: pick(at), onOpen: () => this.#look(),
        });
      })}
    </div>${documents.length >= MOST ? html`<p class="dim">The first ${MOST}; what may be wrong is among them.</p>` : nothing}`;
  }

  /** @param {any} doc */
  #about(doc) {
    const standing = this.#standing(doc);
    const isOut = this.#isOut(doc);
    const worries = this.problems.get(doc.document_id)?.problems ?? [];
    const instead = worries.find((one) => one.instead)?.instead;
    return html`<aside class="about" aria-label="The reference">
      <h2>${doc.file_name || doc.document_id}</h2>
      <p><span class="mark-of">${markOf(standing)}</span> <b>${wordsOf(standing)}</b> <span class="dim">${isOut ? "it votes no more for what it was called" : `${GIVEN[/** @type {keyof typeof GIVEN} */ (standing?.origin)] ?? ""} ${standing?.actor ?? ""}`}</span></p>
      ${isOut ? nothing : worries.map((one) => html`<p class=${one.weight ? "worry" : "dim"}>${one.said}</p>`)}
      <div class="row">${isOut ? nothing : html`<button class=${worries.some((one) => one.weight) ? "main" : ""} @click=${() => this.#wrong()}>Wrong reference <kbd>${hint("demote", "decide")}</kbd></button>`}
        ${instead && !isOut ? html`<button @click=${() => this.#correct(instead)}>It is ${leafOf(instead)}</button>` : nothing}<button @click=${() => this.#ask()}>It is … <kbd>${hint("label", "decide")}</kbd></button><button class="quiet" @click=${() => this.#pair()}>Side by side <kbd>${hint("pair")}</kbd></button></div>
      ${this.#caused(isOut)}
    </aside>`;
  }

  /** @param {boolean} isOut */
  #caused(isOut) {
    const { caused } = this;
    if (!caused || caused.of !== this.doc?.document_id) return nothing;
    const { documents, total } = caused;
    if (!documents.length) return html`<h3>Nothing has its label because of it</h3>`;
    const heading = isOut ? "What it had labelled, decided again" : total ? `${total.toLocaleString()} ${total === 1 ? "has its label" : "have their labels"} because of it` : "What it had labelled";
    return html`<h3>${heading}</h3><div class="caused" role="list" aria-label=${heading}>${documents.map((one) => {
      const now = one.labels?.[store.get("field")];
      const name = `${markOf(now)} ${now?.label ? leafOf(now.label) : wordsOf(now)}`;
      return html`<div role="listitem"><button class="picture" aria-label=${`Why is ${one.file_name} ${wordsOf(now)}?`} @click=${() => this.#why(one)}>${face(one)}<span class="mark">${name}</span></button></div>`;
    })}</div>${total > documents.length ? html`<p class="dim">and ${(total - documents.length).toLocaleString()} more</p>` : nothing}`;
  }

  #past() {
    const { compared } = this;
    return html`<h3>Versions</h3>
      <ul class="versions">${this.versions.map((one) => html`<li><button class="quiet" aria-expanded=${compared?.name === one.name} @click=${() => this.#compare(one.name)}>${one.name} <span class="dim">${new Date(one.at).toLocaleDateString()}</span></button>
        ${compared?.name === one.name ? html`<p class="dim">Since then ${compared.came} references came and ${compared.went} went, ${compared.relabelled} have another label; ${compared.decisions} decisions differ, ${compared.arrived} items are new.<br /><button class="quiet" @click=${() => this.#retireVersion(one.name)}>Offer it no more</button></p>` : nothing}</li>`)}</ul>
      <button class="quiet" @click=${() => this.#keep()}>Keep this point <kbd>${hint("keep", "wall")}</kbd></button>`;
  }
}

/** How many documents vote. @param {any} counts */
function votes(counts) {
  return (counts?.human ?? 0) + (counts?.imported ?? 0) + (counts?.promoted ?? 0);
}

/** Who has a label, in words. @param {any} node */
function told({ all }) {
  const parts = [[all.human, "by people"], [all.imported, "imported"], [all.promoted, "promoted"], [all.recorded, "without a vote"], [all.automatic, "by itself"]];
  return parts.filter(([count]) => count).map(([count, name]) => `${count.toLocaleString()} ${name}`).join(", ") || "Nothing has it";
}

/** @param {string} field @param {any} value */
function is(field, value) {
  return { field, operator: "eq", value };
}

customElements.define("lk-references", References);
