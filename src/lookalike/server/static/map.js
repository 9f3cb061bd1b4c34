// Map: what does it look like? Every document is a point, and look-alikes lie together.

import { html, LitElement, nothing, ref } from "./vendor/lit.js";
import "./chosen.js";
import { hint } from "./keys.js";
import { COLOURINGS, leafOf, lookOf } from "./looks.js";
import { counted, groups, NO_LABEL, read, rowsOf, STATES } from "./points.js";
import { api, here, keyboard, live, router, store } from "./session.js";
import { Stage } from "./stage.js";
import { Follow } from "./store.js";
import { face, markOf, wordsOf } from "./tile.js";
import { tell } from "./toast.js";

const MOST_CHOSEN = 100_000;
const AGAIN_MS = 500;
const CALM_MS = 300;
const HOVER_MS = 60;
const KEPT_TILES = 300;
const STEP = 0.2;

class MapPage extends LitElement {
  constructor() {
    super();
    new Follow(this, store);
    /** @type {import("./points.js").Points | null} */
    this.points = null;
    /** @type {import("./points.js").Points | null} newer ones, in another order, that wait to be asked for */
    this.fresh = null;
    /** @type {import("./looks.js").Line[]} */
    this.lines = [];
    /** @type {import("./points.js").Group[] | null} */
    this.groups = null;
    this.at = -1;
    this.said = "";
    this.trouble = "";
    this.done = -1;
    this.of = "";
    this.etag = "";
    /** @type {any} what the pointer is at: {doc, x, y} */
    this.hovered = null;
    /** @type {Map<number, any>} */
    this.tiles = new Map();
    /** By what, and where, the map is drawn now. */
    this.painted = "";
    this.looked = ",,";
    this.dark = matchMedia("(prefers-color-scheme: dark)");
  }

  createRenderRoot() {
    return this;
  }

  get by() {
    const { by } = router.route.params;
    return COLOURINGS.some((one) => one.id === by) ? by : "label";
  }

  get only() {
    return router.route.params.only ?? "";
  }

  connectedCallback() {
    super.connectedCallback();
    const pan = (/** @type {number} */ across, /** @type {number} */ down) => () => this.stage?.pan(across * STEP, down * STEP);
    this.ends = [
      keyboard.bind("map", {
        panLeft: pan(-1, 0), panRight: pan(1, 0), panUp: pan(0, -1), panDown: pan(0, 1),
        closer: () => this.stage?.zoomBy(1.5), further: () => this.stage?.zoomBy(1 / 1.5), whole: () => this.#whole(),
        nextGroup: () => this.#step(1), previousGroup: () => this.#step(-1), take: () => this.#take(),
        colouring: () => this.#colour(), lasso: () => this.#tool(),
      }),
      keyboard.bind("everywhere", { fresh: () => this.#bringIn() }),
      listen(router, "change", () => this.#follow()),
      listen(live, "changed", () => this.#soon()),
      listen(live, "refetch", () => this.#soon()),
      listen(this.dark, "change", () => this.#repaint()),
    ];
    this.requestUpdate();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    for (const end of this.ends ?? []) end();
    clearTimeout(this.timer);
    this.stage?.end();
    this.stage = undefined;
  }

  get commands() {
    return [
      ...COLOURINGS.map((one) => ({ name: `Colour by: ${one.name}`, run: () => router.set({ by: one.id, only: "" }) })),
      { name: "The whole map", hint: hint("whole", "map"), run: () => this.#whole() },
      { name: "Show only what has no label", run: () => router.set({ by: "label", only: "·none" }) },
    ];
  }

  updated() {
    const host = /** @type {HTMLElement | null} */ (this.querySelector(".stage"));
    if (host && !this.stage) this.#begin(host);
    const of = `${store.get("collection")}/${store.get("field")}`;
    if (store.get("field") && of !== this.of) {
      Object.assign(this, { of, points: null, fresh: null, etag: "", lines: [], trouble: "", hovered: null });
      this.#fetch();
    }
  }

  /** @param {HTMLElement} host */
  #begin(host) {
    const [canvas, over] = host.querySelectorAll("canvas");
    const stage = new Stage(host, canvas, over);
    this.stage = stage;
    this.#follow();
    stage.addEventListener("view", () => this.#keepView());
    stage.addEventListener("hover", (event) => this.#hover(/** @type {CustomEvent} */ (event).detail));
    stage.addEventListener("chosen", (event) => this.choose(/** @type {CustomEvent} */ (event).detail));
    if (this.points) this.#repaint();
  }

  // --- what the server has -------------------------------------------------------------------------

  #soon() {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.#fetch(), CALM_MS);
  }

  async #fetch() {
    clearTimeout(this.timer);
    const of = this.of;
    try {
      const answer = await api.raw(here("/map"), { field: store.get("field") });
      if (of !== this.of || !this.isConnected) return;
      if (answer.status === 202) {
        this.done = (await answer.json()).done;
        this.timer = window.setTimeout(() => this.#fetch(), AGAIN_MS);
      } else {
        const etag = answer.headers.get("etag") ?? "";
        if (etag !== this.etag || !this.points) this.#receive(await answer.arrayBuffer());
        Object.assign(this, { etag, done: -1, trouble: "" });
        if (this.points?.outgrown) this.timer = window.setTimeout(() => this.#fetch(), 10 * AGAIN_MS);
      }
    } catch (error) {
      this.trouble = /** @type {Error} */ (error).message;
      if (/** @type {any} */ (error).mayPass) this.timer = window.setTimeout(() => this.#fetch(), 4 * AGAIN_MS);
    }
    this.requestUpdate();
  }

  /** What lies elsewhere waits until it is asked for: nothing moves under the pointer. @param {ArrayBuffer} buffer */
  #receive(buffer) {
    const began = performance.now();
    const points = read(buffer);
    if (this.points && this.points.snapshot !== points.snapshot) this.fresh = points;
    else this.#put(points);
    this.stage?.addEventListener("drawn", () => performance.measure("map-first", { start: began, end: performance.now() }), { once: true });
  }

  /** @param {import("./points.js").Points} points */
  #put(points) {
    if (this.points?.snapshot !== points.snapshot) {
      this.tiles = new Map();
      this.#leaveGroup();
    }
    Object.assign(this, { points, fresh: null });
    this.#repaint();
  }

  #bringIn() {
    if (!this.fresh) return false;
    this.chosen.close();
    this.#put(this.fresh);
  }

  // --- what is drawn -------------------------------------------------------------------------------

  /** Take over what the address says, unless it says what is seen already. */
  #follow() {
    const { by, only, stage } = this;
    if (`${by}/${only}` !== this.painted) {
      this.#leaveGroup();
      this.#repaint();
    }
    const { x, y, z } = router.route.params;
    const said = [x ?? "", y ?? "", z ?? ""].join();
    if (stage && said !== this.looked) {
      this.looked = said;
      stage.lookAt(Number(x || 0.5), Number(y || 0.5), Number(z || 1));
    }
  }

  #repaint() {
    this.groups = null;
    this.painted = `${this.by}/${this.only}`;
    if (!this.points || !this.stage) return;
    const { look, lines } = lookOf(this.points, this.by, this.only);
    this.lines = lines;
    this.stage.look = look;
    this.stage.show(this.points);
    this.stage.paint();
    this.requestUpdate();
  }

  #keepView() {
    clearTimeout(this.viewing);
    this.viewing = window.setTimeout(() => {
      const { stage } = this;
      if (!stage) return;
      const isWhole = stage.zoom === 1 && stage.x === 0.5 && stage.y === 0.5;
      const seen = isWhole ? { x: "", y: "", z: "" } : { x: stage.x.toFixed(4), y: stage.y.toFixed(4), z: stage.zoom.toFixed(2) };
      this.looked = [seen.x, seen.y, seen.z].join();
      router.set(seen);
    }, CALM_MS);
  }

  #whole() {
    this.#leaveGroup();
    this.stage?.lookAt(0.5, 0.5, 1);
  }

  #leaveGroup() {
    this.at = -1;
    if (this.stage) this.stage.group = null;
  }

  #colour() {
    const place = COLOURINGS.findIndex((one) => one.id === this.by);
    router.set({ by: COLOURINGS[(place + 1) % COLOURINGS.length].id, only: "" });
    this.#say(`Coloured by: ${COLOURINGS.find((one) => one.id === this.by)?.name}`);
  }

  #tool() {
    if (!this.stage) return;
    this.stage.tool = this.stage.tool === "lasso" ? "move" : "lasso";
    this.#say(this.stage.tool === "lasso" ? "Drag draws a lasso" : "Drag moves the map");
  }

  /** @param {string} text */
  #say(text) {
    this.said = text;
    this.requestUpdate();
  }

  // --- groups and choosing -------------------------------------------------------------------------

  /** @param {number} by */
  #step(by) {
    const { points, stage } = this;
    if (!points?.count || !stage) return;
    this.chosen.close();
    this.groups ??= groups(points, stage.isShown);
    const { length } = this.groups;
    if (!length) return this.#say("Nothing is shown");
    this.at = this.at < 0 ? (by > 0 ? 0 : length - 1) : (this.at + by + length) % length;
    const group = this.groups[this.at];
    stage.goTo(group);
    const name = group.label === NO_LABEL ? "mostly without a label" : `mostly ${leafOf(points.labels[group.label]?.name ?? "other labels")}`;
    this.#say(`Group ${this.at + 1} of ${length}: ${group.size.toLocaleString()}, ${name}`);
    this.#stageFocus();
  }

  #take() {
    const group = this.groups?.[this.at];
    if (!group || !this.points || !this.stage) return this.#say(`Go to a group first, with ${hint("nextGroup")}`);
    this.choose(rowsOf(this.points, group, this.stage.isShown));
  }

  /** Show the documents that points are. @param {Uint32Array} rows */
  async choose(rows) {
    const { points } = this;
    if (!points || !rows.length) return;
    if (rows.length > MOST_CHOSEN) return tell(`${rows.length.toLocaleString()} points are too many at once; take up to ${MOST_CHOSEN.toLocaleString()}.`, { kind: "bad" });
    if (this.stage) this.stage.marked = rows;
    this.stage?.paint();
    try {
      const told = await api.post(here("/map/documents"), { snapshot: points.snapshot, rows: [...rows] });
      if (points.snapshot !== this.points?.snapshot) return;
      const most = counted(points.label, rows).map(([code, count]) => ({ name: code === NO_LABEL ? null : (points.labels[code]?.name ?? "other labels"), count }));
      this.chosen.open({ ids: told.document_ids, documents: told.results, most, paint: (/** @type {string} */ label) => this.#paintOver(rows, label) });
    } catch (error) {
      tell(/** @type {Error} */ (error).message, { kind: "bad" });
      if (/** @type {any} */ (error).status === 404) this.#soon();
    }
  }

  get chosen() {
    return /** @type {import("./chosen.js").Chosen} */ (this.querySelector("lk-chosen"));
  }

  /** Paint points as labelled by a person; returns what paints them back. @param {Uint32Array} rows @param {string} label */
  #paintOver(rows, label) {
    const { points } = this;
    if (!points) return () => {};
    let code = points.labels.findIndex((one) => one.name === label);
    if (code < 0 && points.labels.length < 254) code = points.labels.push({ name: label, count: 0 }) - 1;
    const before = rows.length > 0 ? [...rows].map((row) => [points.label[row], points.state[row]]) : [];
    for (const row of rows) [points.label[row], points.state[row]] = [code < 0 ? 254 : code, STATES.indexOf("given")];
    this.#repaint();
    return () => {
      rows.forEach((row, place) => ([points.label[row], points.state[row]] = before[place]));
      this.#repaint();
    };
  }

  #closed() {
    if (this.stage) this.stage.marked = null;
    this.stage?.paint();
    this.#stageFocus();
  }

  #stageFocus() {
    /** @type {HTMLElement | null} */ (this.querySelector(".stage"))?.focus({ preventScroll: true });
  }

  // --- the pointer ---------------------------------------------------------------------------------

  /** @param {{row: number, x: number, y: number}} at */
  #hover({ row, x, y }) {
    clearTimeout(this.hovering);
    if (row < 0 || !this.points) {
      this.hovered = null;
      return this.requestUpdate();
    }
    const { snapshot } = this.points;
    this.hovering = window.setTimeout(async () => {
      let doc = this.tiles.get(row);
      if (!doc) {
        const told = await api.post(here("/map/documents"), { snapshot, rows: [row], limit: 1 }).catch(() => null);
        doc = told?.results[0];
        if (!doc || snapshot !== this.points?.snapshot) return;
        if (this.tiles.size > KEPT_TILES) this.tiles.clear();
        this.tiles.set(row, doc);
      }
      if (this.stage?.hovered === row) this.hovered = { doc, x, y };
      this.requestUpdate();
    }, HOVER_MS);
  }

  render() {
    const many = this.points?.count ?? 0;
    return html`<div class="map">
      <div class="row tools">
        <h1 class="unseen">Map</h1>
        <div class="row segments" role="group" aria-label="Colour by">${COLOURINGS.map((one) => html`<button aria-pressed=${one.id === this.by} @click=${() => router.set({ by: one.id, only: "" })}>${one.name}</button>`)}</div>
        <button aria-pressed=${this.stage?.tool === "lasso"} title="Draw around points to select them; Shift and drag does it at any time" @click=${() => this.#tool()}>Lasso <kbd>${hint("lasso", "map")}</kbd></button>
        <button @click=${() => this.#step(1)}>Next group <kbd>${hint("nextGroup", "map")}</kbd></button>
        <button ?disabled=${this.at < 0} @click=${() => this.#take()}>Select it <kbd>${hint("take", "map")}</kbd></button>
        <button class="quiet" aria-label="Further away" title=${`Further away (${hint("further", "map")})`} @click=${() => this.stage?.zoomBy(1 / 1.5)}>−</button>
        <button class="quiet" aria-label="Closer" title=${`Closer (${hint("closer", "map")})`} @click=${() => this.stage?.zoomBy(1.5)}>+</button>
        <button class="quiet" title=${`The whole map (${hint("whole", "map")})`} @click=${() => this.#whole()}>Whole</button>
        ${this.fresh ? html`<button class="main" @click=${() => this.#bringIn()}>New items <kbd>${hint("fresh")}</kbd></button>` : nothing}
        <span class="spring"></span>
        <span class="dim" role="status" aria-live="polite">${this.said || (many ? `${many.toLocaleString()} points` : "")}</span>
      </div>
      <div class="field">
        <div class="stage ${this.stage?.tool === "lasso" ? "draws" : ""}" tabindex="0" role="application" aria-label="Map of the collection" aria-describedby="map-how"><canvas></canvas><canvas></canvas>${this.#over()}</div>
        ${this.#legend()}
      </div>
      <p id="map-how" class="unseen">Arrow keys move, ${hint("nextGroup", "map")} and ${hint("previousGroup", "map")} go from group to group, ${hint("take", "map")} selects the group.</p>
      <lk-chosen @closed=${() => this.#closed()}></lk-chosen>
      ${this.#card()}
    </div>`;
  }

  #over() {
    if (this.trouble && !this.points) return html`<div class="over"><p>${this.trouble}</p></div>`;
    if (this.done >= 0 && !this.points) return html`<div class="over"><p>Laying out the map: ${Math.round(100 * this.done)} %</p><progress max="1" value=${this.done} aria-label="Laying out the map"></progress></div>`;
    if (!this.points) return store.get("field") ? html`<div class="over"><p class="dim">…</p></div>` : html`<div class="over"><p>There is no label field yet. <a href=${router.to("start")}>Begin</a></p></div>`;
    if (!this.points.count) return html`<div class="over"><p>Nothing is here yet. <a href=${router.to("start")}>Bring something in</a>, and it lies here by what it looks like.</p></div>`;
    return nothing;
  }

  #legend() {
    if (!this.lines.length) return nothing;
    return html`<section class="legend" aria-label="Legend" tabindex="0">
      ${this.only ? html`<button class="quiet" @click=${() => router.set({ only: "" })}>Show all</button>` : html`<p class="dim">Click one to show it alone</p>`}
      <ul>${this.lines.map((one) => html`<li><button class="quiet line" aria-pressed=${one.key === this.only} title=${one.name} @click=${() => router.set({ only: one.key === this.only ? "" : one.key })}>
        <span class="swatch" ${styled({ background: one.colour || "var(--dim)" })}></span><span class="name">${one.name}</span> <span class="dim">${one.count.toLocaleString()}</span></button></li>`)}</ul>
    </section>`;
  }

  #card() {
    if (!this.hovered) return nothing;
    const { doc, x, y } = this.hovered;
    const standing = doc.labels[store.get("field")];
    const sure = standing?.match?.confidence;
    const place = { left: `${Math.min(x + 16, innerWidth - 200)}px`, top: `${Math.min(y + 16, innerHeight - 230)}px` };
    return html`<div class="hovered card" ${styled(place)}>${face(doc)}<p><b>${markOf(standing)} ${wordsOf(standing)}</b>${sure == null ? nothing : html` <span class="dim">${sure.toFixed(2)}</span>`}</p><p class="dim">${doc.file_name}</p></div>`;
  }
}
customElements.define("lk-map", MapPage);

/** Set styles one by one: the policy forbids a style attribute. @param {Record<string, string>} styles */
function styled(styles) {
  return ref((element) => element && Object.assign(/** @type {HTMLElement} */ (element).style, styles));
}

/** Listen; returns what ends it. @param {EventTarget} target @param {string} name @param {() => void} hear */
function listen(target, name, hear) {
  target.addEventListener(name, hear);
  return () => target.removeEventListener(name, hear);
}
