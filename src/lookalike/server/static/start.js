// Start: what do I do now? First bring something in; later, how it stands and what helps most.

import { html, LitElement, nothing } from "./vendor/lit.js";
import { inDays, inHundred, rate } from "./figures.js";
import { hint } from "./keys.js";
import { api, here, keyboard, open, router, store } from "./session.js";
import { Follow } from "./store.js";
import { dropped, make, nameFrom, planOf, send, thingsIn } from "./upload.js";

const WAYS = {
  image: [["image", "Whole pictures"], ["face_identity_extractor", "Faces in them"], ["region_extractor", "Objects in them"]],
  text: [["document_extractor", "Documents"]],
};
const ASK_MS = 1500;

class Start extends LitElement {
  constructor() {
    super();
    new Follow(this, store);
    /** @type {any} */
    this.plan = null;
    this.name = "";
    this.into = "";
    this.way = "";
    this.isOver = false;
    this.sending = { of: 0, sent: 0, failed: /** @type {string[]} */ ([]), is: "" };
    this.trouble = "";
    /** @type {any} */
    this.more = null;
    this.moreOf = "";
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.end = keyboard.bind("decide", { accept: () => this.#next() });
    this.timer = setInterval(() => this.#ask(), ASK_MS);
    this.#ask();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.end?.();
    clearInterval(this.timer);
  }

  get commands() {
    return [
      { name: "Try the sample", hint: "", run: () => this.#trySample() },
      { name: "Bring in files", hint: "", run: () => this.#file("files") },
      { name: "Bring in a folder", hint: "", run: () => this.#file("folder") },
    ];
  }

  /** Enter does what helps most. */
  #next() {
    if (this.plan) this.#bringIn();
    else if (store.get("collection")) router.go("review");
    else this.#trySample();
  }

  async #ask() {
    const { collection, field, report } = store.state;
    const of = `${collection}/${field}/${report?.labelled?.human}/${report?.documents}`;
    if (!collection || !field || of === this.moreOf || document.hidden) return;
    this.moreOf = of;
    try {
      const [errors, monitoring] = await Promise.all([api.get(here("/analytics/error-rate"), { field }), api.get(here("/analytics/monitoring"), { field, days: 7 })]);
      this.more = { errors, forecast: monitoring.forecast };
    } catch {
      this.more = null;
    }
    this.requestUpdate();
  }

  async #trySample() {
    await this.#do("Making the sample…", async () => {
      const made = await api.post("/samples");
      await open();
      router.go("review", { c: made.collection_name, field: "" });
    });
  }

  /** @param {string} is @param {() => Promise<void>} run */
  async #do(is, run) {
    if (this.sending.is) return;
    Object.assign(this, { sending: { of: 0, sent: 0, failed: [], is }, trouble: "" });
    this.requestUpdate();
    try {
      await run();
    } catch (error) {
      this.trouble = /** @type {Error} */ (error).message;
    }
    this.sending = { ...this.sending, is: "" };
    this.requestUpdate();
  }

  /** @param {string} which */
  #file(which) {
    /** @type {HTMLInputElement | null} */ (this.querySelector(`input.${which}`))?.click();
  }

  /** @param {(File | FileSystemEntry)[]} given */
  async #plan(given) {
    await this.#do("Looking at what that is…", async () => {
      const things = await thingsIn(given);
      const plan = planOf(things);
      if (!plan.usable.length) throw new Error("There is no picture, text or PDF in that. Drop pictures, documents, a zip of them, or a table as CSV.");
      Object.assign(this, { plan, into: "" });
      this.way = WAYS[/** @type {"image" | "text"} */ (plan.kind)][0][0];
      const taken = (store.get("collections") ?? []).map((/** @type {any} */ one) => one.collection_name);
      const wanted = nameFrom(plan.usable[0].path.includes("/") ? plan.usable[0].path : plan.kind === "image" ? "pictures" : "documents");
      this.name = wanted;
      for (let number = 2; taken.includes(this.name); number += 1) this.name = `${wanted}-${number}`;
    });
  }

  async #bringIn() {
    const { plan, into, way } = this;
    const name = into || this.name;
    await this.#do("Sending…", async () => {
      if (!into) await make(api, name, way, plan.kind);
      const bucket = into ? bucketOf(into) : name;
      await open();
      router.go("start", { c: name, field: "" });
      this.sending = { ...this.sending, of: plan.usable.length };
      this.plan = null;
      await send(api, bucket, plan.usable, (sent, failed) => ((this.sending = { ...this.sending, sent, failed }), this.requestUpdate()));
    });
  }

  /** @param {DragEvent} event */
  #drop(event) {
    event.preventDefault();
    this.isOver = false;
    if (event.dataTransfer) this.#plan(dropped(event.dataTransfer));
  }

  render() {
    const { collection, report } = store.state;
    const over = (/** @type {boolean} */ isOver) => (/** @type {Event} */ event) => (event.preventDefault(), this.isOver !== isOver && ((this.isOver = isOver), this.requestUpdate()));
    return html`<div class="wrap start" @dragover=${over(true)} @dragleave=${over(false)} @drop=${this.#drop}>
      ${collection ? this.#overview(report) : html`<h1>Label a collection from a few examples</h1><p class="dim lead">Bring in pictures, documents or a table. Name a few; what looks like them is labelled, and the rest waits for you.</p>`}
      ${this.sending.is || this.sending.sent ? this.#progress() : nothing}
      ${this.trouble ? html`<p class="trouble" role="alert">${this.trouble}</p>` : nothing}
      ${this.plan ? this.#planned() : this.#dropZone(Boolean(collection))}
    </div>`;
  }

  /** @param {boolean} isMore */
  #dropZone(isMore) {
    const chosen = (/** @type {any} */ event) => (this.#plan([...event.target.files]), (event.target.value = ""));
    return html`<section class="drop ${this.isOver ? "over" : ""} ${isMore ? "small" : ""}" aria-label="Bring something in">
      <h2>${isMore ? "Another collection" : "Drop a folder, a zip or a CSV here"}</h2>
      <p class="dim">${isMore ? "Drop a folder, a zip or a CSV anywhere on this page." : "Nothing leaves this machine but to the server that it came from."}</p>
      <div class="row">
        ${isMore ? nothing : html`<button class="main" @click=${() => this.#trySample()}>Try the sample <kbd>Enter</kbd></button>`}
        <button @click=${() => this.#file("folder")}>Choose a folder</button><button @click=${() => this.#file("files")}>Choose files</button>
        ${isMore ? html`<button @click=${() => this.#trySample()}>Try the sample</button>` : nothing}
      </div>
      <input class="files" type="file" multiple hidden aria-label="Files" @change=${chosen} /><input class="folder" type="file" multiple hidden .webkitdirectory=${true} aria-label="A folder" @change=${chosen} />
    </section>`;
  }

  #planned() {
    const { plan } = this;
    const ways = WAYS[/** @type {"image" | "text"} */ (plan.kind)];
    const count = plan.usable.length.toLocaleString();
    return html`<section class="card plan" aria-label="What will be brought in">
      <h2>${count} ${plan.isTable ? "rows of a table" : plan.kind === "image" ? "pictures" : "documents"}</h2>
      ${plan.left ? html`<p class="dim">${plan.left.toLocaleString()} other files stay out.</p>` : nothing}
      ${store.get("collection") ? this.#where() : nothing}
      <div class="row" ?hidden=${this.into}><label>Name <input .value=${this.name} @input=${(/** @type {any} */ event) => (this.name = event.target.value)} /></label>
        ${ways.length > 1 ? html`<label>What gets a label <select @change=${(/** @type {any} */ event) => (this.way = event.target.value)}>${ways.map(([id, name]) => html`<option value=${id} ?selected=${id === this.way}>${name}</option>`)}</select></label>` : nothing}</div>
      <div class="row"><button class="main" @click=${() => this.#bringIn()}>Bring them in <kbd>Enter</kbd></button><button @click=${() => ((this.plan = null), this.requestUpdate())}>Not now</button></div>
    </section>`;
  }

  #where() {
    const name = store.get("collection");
    const choose = (/** @type {string} */ into) => () => ((this.into = into), this.requestUpdate());
    return html`<fieldset class="row"><legend class="unseen">Where they go</legend>
      <label class="check"><input type="radio" name="into" .checked=${!this.into} @change=${choose("")} /> A new collection</label>
      <label class="check"><input type="radio" name="into" .checked=${this.into === name} @change=${choose(name)} /> More for ${name}</label></fieldset>`;
  }

  #progress() {
    const { of, sent, failed, is } = this.sending;
    return html`<section class="card" aria-live="polite"><p>${is && of ? `${sent.toLocaleString()} of ${of.toLocaleString()} sent` : is || `${sent.toLocaleString()} sent.`}</p>
      ${of ? html`<progress max=${of} value=${sent} aria-label="Sent"></progress>` : nothing}
      ${failed.length ? html`<details><summary>${failed.length} did not get in; the others did</summary><ul>${failed.slice(0, 50).map((one) => html`<li>${one}</li>`)}</ul></details>` : nothing}</section>`;
  }

  /** @param {any} report */
  #overview(report) {
    if (!report) return html`<h1>${store.get("collection")}</h1>`;
    const { labelled, documents, queue, waiting, failed } = report;
    const itself = labelled.auto + labelled.promoted;
    const people = labelled.human + labelled.import;
    return html`<h1>${nextStep(report).title}</h1><p class="dim lead">${nextStep(report).why}</p>
      <p class="row"><a class="button main" href=${router.to("review")}>${documents ? "Review" : "To the review"} <kbd>${hint("accept", "decide")}</kbd></a></p>
      ${waiting ? html`<p class="note">${waiting.toLocaleString()} are being read; what is ready can be labelled already.</p>` : nothing}
      ${failed ? html`<p class="note">${failed.toLocaleString()} could not be read. <code>lookalike doctor ${store.get("collection")}</code> says why.</p>` : nothing}
      <div class="cards">
        <section class="card"><h2>Coverage</h2><p class="big">${inHundred(report.coverage)}</p>
          <div class="bar-of" aria-hidden="true">${[["green", people], ["accent", itself], ["amber", queue]].map(([name, count]) => part(String(name), Number(count) / (documents || 1)))}</div>
          <p class="dim">✓ ${people.toLocaleString()} by people · ⟲ ${itself.toLocaleString()} automatic · ? ${queue.toLocaleString()} to review, of ${documents.toLocaleString()}</p></section>
        ${this.#errors(report)}
        <section class="card"><h2>Queue</h2><p class="big amber">${queue.toLocaleString()}</p><p class="dim">${this.#forecast()}</p></section>
        <section class="card"><h2>It ${report.state}</h2><p class="dim">${report.limit === null || report.limit > 1 ? "No limit holds the promise yet." : html`Limit ${report.limit.toFixed(2)}${report.target_precision ? html` for ${inHundred(report.target_precision)} right` : html`: a similarity, not a promise`}.`}</p>
          ${report.missing.map((/** @type {string} */ one) => html`<p class="dim">Missing: ${one}.</p>`)}</section>
      </div>`;
  }

  /** @param {any} report */
  #errors(report) {
    const told = this.more ? rate(this.more.errors) : null;
    const expected = report.estimated_precision;
    return html`<section class="card"><h2>Wrong automatic labels</h2>
      ${told ? html`<p class="big ${told.isThin ? "thin" : ""}">${told.rate}</p><p class="dim">${told.interval}, ${told.from}</p>` : html`<p class="big thin">${expected === null || expected === undefined ? "not known" : `about ${inHundred(1 - expected)}`}</p><p class="dim">${expected ? "estimated; 0 checked" : "from 0 checked"}. Answers that chance draws into the queue count it.</p>`}</section>`;
  }

  #forecast() {
    const told = this.more?.forecast;
    if (!told) return "…";
    if (told.outlook === "grows") return `It grows: ${Math.round(told.arrived_per_day).toLocaleString()} arrive a day, ${Math.round(told.answers_per_day).toLocaleString()} are answered.`;
    return told.days_left === null ? "Nothing came or went in the last days." : `Empty ${inDays(told.days_left)} at this pace.`;
  }
}

/** @param {string} name @param {number} share */
function part(name, share) {
  return html`<span class="of-${name}" .style=${`flex-grow:${share}`}></span>`;
}

/** The bucket that a collection draws on. @param {string} name */
function bucketOf(name) {
  const found = store.get("collections").find((/** @type {any} */ one) => one.collection_name === name);
  return found?.source.bucket_ids?.[0] ?? name;
}

/** What helps most now, and why. @param {any} report */
function nextStep(report) {
  const { labelled, documents, queue, state } = report;
  if (!documents) return { title: "Nothing has been read yet", why: "What you bring in shows here in a moment." };
  if (!labelled.human && !labelled.import) return { title: "Name what looks alike", why: "Groups of look-alikes wait: type a name, X out the odd ones, Enter. Six to eight strips are enough to begin." };
  if (state === "suggests only") return { title: "A few more answers", why: "It suggests already, and labels nothing automatically until it can keep its promise." };
  if (queue) return { title: `${queue.toLocaleString()} wait for you`, why: "The first question settles most. What you answer goes on to what looks like it." };
  return { title: "All is labelled", why: "Bring in more, or check a random sample of the automatic labels." };
}

customElements.define("lk-start", Start);
