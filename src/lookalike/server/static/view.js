// The big view of one document: the whole picture with its box, or the words.

import { html, LitElement, nothing, ref } from "./vendor/lit.js";
import { openModal } from "./dialog.js";
import { isText, largeOf, load, textOf } from "./pictures.js";
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

  render() {
    const { doc } = this;
    const hasBox = Boolean(doc?.attributes?.box);
    return html`<dialog class="sheet view" aria-label=${doc ? `Big view of ${doc.file_name}` : "Big view"}>
      ${doc ? html`<header><h2>${doc.file_name || doc.document_id}</h2><span class="row">
          ${hasBox ? html`<button class="quiet" @click=${() => ((this.isWhole = !this.isWhole), this.requestUpdate())}>${this.isWhole ? "Only the part" : "The whole"} <kbd>${hint("crop")}</kbd></button>` : nothing}
          <button class="quiet" @click=${() => this.querySelector("dialog")?.close()}>Close <kbd>Esc</kbd></button></span></header>
        ${isText(doc) ? html`<pre class="words" tabindex="0">${this.words}</pre>` : staged(doc, this.isWhole)}
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

/** The picture of a document: its part alone, or the whole with a box around the part. @param {any} doc @param {boolean} isWhole */
export function staged(doc, isWhole) {
  const { box } = doc.attributes ?? {};
  return html`<div class="stage"><img alt=${doc.file_name || "The item"} decoding="async" draggable="false" @load=${(/** @type {Event} */ event) => box && frame(/** @type {HTMLElement} */ (event.target).parentElement, box)} ${ref((element) => load(element, largeOf(doc, isWhole)))} />${box && isWhole ? html`<div class="frame" ${ref((element) => frame(element?.parentElement, box))}></div>` : nothing}</div>`;
}

/** Put the box of a region or face over its picture, which may leave room at two sides. @param {Element | null | undefined} stage @param {number[]} box */
function frame(stage, box) {
  const image = stage?.querySelector("img");
  const found = /** @type {HTMLElement | null | undefined} */ (stage?.querySelector(".frame"));
  if (!found || !image?.complete || !image.naturalWidth) return;
  const { clientWidth: wide, clientHeight: high, naturalWidth, naturalHeight } = image;
  const scale = Math.min(wide / naturalWidth, high / naturalHeight);
  const [left, top, width, height] = box.map((one) => one * scale);
  const share = (/** @type {number} */ part, /** @type {number} */ whole) => `${(100 * part) / whole}%`;
  Object.assign(found.style, {
    left: share((wide - naturalWidth * scale) / 2 + left, wide), top: share((high - naturalHeight * scale) / 2 + top, high),
    width: share(width, wide), height: share(height, high),
  });
}
