// The big view of one document: the whole picture with its box, or the words.

import { html, LitElement, nothing, ref } from "./vendor/lit.js";
import { openModal } from "./dialog.js";
import { blobOf, isText, load, textOf } from "./pictures.js";
import { hint } from "./keys.js";

class View extends LitElement {
  constructor() {
    super();
    /** @type {any} */
    this.doc = null;
    this.isWhole = true;
    this.words = "";
  }

  createRenderRoot() {
    return this;
  }

  /** @param {any} doc @param {(by: number) => any} beside gives the document before or after it */
  async open(doc, beside) {
    const dialog = /** @type {HTMLDialogElement} */ (this.querySelector("dialog"));
    if (dialog.open) return;
    this.#show(doc);
    const step = (/** @type {number} */ by) => this.#show(beside(by) ?? this.doc);
    openModal(dialog, "items", {
      view: () => dialog.close(),
      left: () => step(-1),
      right: () => step(1),
      crop: () => ((this.isWhole = !this.isWhole), this.requestUpdate()),
    });
  }

  /** @param {any} doc */
  async #show(doc) {
    Object.assign(this, { doc, words: "" });
    this.requestUpdate();
    if (isText(doc)) {
      this.words = (await textOf(doc)) || doc.file_name;
      this.requestUpdate();
    }
  }

  /** Put the box of a region or face over its picture, which may leave room at two sides. */
  #frame() {
    const image = /** @type {HTMLImageElement | null} */ (this.querySelector(".stage img"));
    const frame = /** @type {HTMLElement | null} */ (this.querySelector(".frame"));
    const box = this.doc?.attributes?.box;
    if (!frame || !box || !image?.complete || !image.naturalWidth) return;
    const { clientWidth: wide, clientHeight: high, naturalWidth, naturalHeight } = image;
    const scale = Math.min(wide / naturalWidth, high / naturalHeight);
    const [left, top, width, height] = box.map((/** @type {number} */ one) => one * scale);
    frame.style.left = `${(100 * ((wide - naturalWidth * scale) / 2 + left)) / wide}%`;
    frame.style.top = `${(100 * ((high - naturalHeight * scale) / 2 + top)) / high}%`;
    frame.style.width = `${(100 * width) / wide}%`;
    frame.style.height = `${(100 * height) / high}%`;
  }

  updated() {
    this.#frame();
  }

  render() {
    const { doc } = this;
    const hasBox = Boolean(doc?.attributes?.box);
    const isPicture = doc && !isText(doc) && blobOf(doc)?.type === "image";
    const url = isPicture && this.isWhole ? blobOf(doc).url : doc?.thumbnail_url;
    return html`<dialog class="sheet view" aria-label=${doc ? `Big view of ${doc.file_name}` : "Big view"}>
      ${doc ? html`<header><h2>${doc.file_name || doc.document_id}</h2><span class="row">
          ${hasBox ? html`<button class="quiet" @click=${() => ((this.isWhole = !this.isWhole), this.requestUpdate())}>${this.isWhole ? "Only the part" : "The whole"} <kbd>${hint("crop")}</kbd></button>` : nothing}
          <button class="quiet" @click=${() => this.querySelector("dialog")?.close()}>Close <kbd>Esc</kbd></button></span></header>
        ${isText(doc) ? html`<pre class="words" tabindex="0">${this.words}</pre>` : html`<div class="stage"><img alt=${doc.file_name} @load=${this.#frame} ${ref((element) => load(element, url))} />${hasBox && this.isWhole ? html`<div class="frame"></div>` : nothing}</div>`}
        ${this.#about(doc)}` : nothing}
    </dialog>`;
  }

  /** @param {any} doc */
  #about(doc) {
    const told = Object.entries({ ...doc.metadata, ...doc.attributes }).filter(([, value]) => value !== null && typeof value !== "object");
    return html`<dl class="facts">${told.map(([name, value]) => html`<div><dt>${name}</dt><dd>${String(value)}</dd></div>`)}</dl>`;
  }
}
customElements.define("lk-view", View);
