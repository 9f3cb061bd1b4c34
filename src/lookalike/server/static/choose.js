// Choosing by typing: a few letters, then Enter. The palette and the label field are made of it.

import { html, LitElement, nothing } from "./vendor/lit.js";
import { matching, tidy } from "./labels.js";
import { openModal } from "./dialog.js";

const MOST = 10;

/**
 * `take` gets the choice; with `create`, a name that is not there may be made.
 * @typedef {{name: string, hint?: string}} Choice
 * @typedef {{title: string, placeholder: string, choices: Choice[], take: (name: string) => void, create?: (name: string) => void}} Asked
 */

class Choose extends LitElement {
  constructor() {
    super();
    /** @type {Asked} */
    this.asked = { title: "", placeholder: "", choices: [], take: () => {} };
    this.typed = "";
    this.at = 0;
  }

  createRenderRoot() {
    return this;
  }

  /** @param {Asked} asked */
  async open(asked) {
    const dialog = /** @type {HTMLDialogElement} */ (this.querySelector("dialog"));
    if (dialog.open) return;
    Object.assign(this, { asked, typed: "", at: 0 });
    this.requestUpdate();
    openModal(dialog, "field", {
      accept: () => this.#take(),
      create: () => this.#create(),
      down: () => this.#move(1),
      up: () => this.#move(-1),
    });
    const input = /** @type {HTMLInputElement} */ (this.querySelector("input"));
    input.value = "";
    input.focus();
    await this.updateComplete;
  }

  get found() {
    const { choices } = this.asked;
    const names = matching(this.typed, choices.map((one) => one.name)).slice(0, MOST);
    return names.map((name) => /** @type {Choice} */ (choices.find((one) => one.name === name)));
  }

  get isNew() {
    const name = tidy(this.typed);
    return Boolean(this.asked.create && name && !this.asked.choices.some((one) => one.name === name));
  }

  /** @param {number} by */
  #move(by) {
    const count = this.found.length + Number(this.isNew) || 1;
    this.at = (this.at + by + count) % count;
    this.requestUpdate();
  }

  #take(at = this.at) {
    const found = this.found[at];
    if (found) this.#end(this.asked.take, found.name);
    else if (this.isNew) this.#create();
  }

  #create() {
    if (this.isNew) this.#end(this.asked.create, tidy(this.typed));
    else if (this.found.length) this.#take(0);
  }

  /** @param {((name: string) => void) | undefined} take @param {string} name */
  #end(take, name) {
    this.querySelector("dialog")?.close();
    take?.(name);
  }

  render() {
    const found = this.found;
    return html`<dialog class="sheet narrow" aria-label=${this.asked.title}>
      <input role="combobox" aria-label=${this.asked.title} aria-expanded="true" aria-controls="choices" aria-autocomplete="list"
        aria-activedescendant=${found.length + Number(this.isNew) ? `choice-${this.at}` : nothing} placeholder=${this.asked.placeholder}
        autocomplete="off" spellcheck="false" @input=${(/** @type {any} */ event) => (Object.assign(this, { typed: event.target.value, at: 0 }), this.requestUpdate())} />
      <ul class="choices" id="choices" role="listbox" aria-label=${this.asked.title}>
        ${found.map((one, place) => html`<li id=${`choice-${place}`} role="option" aria-selected=${place === this.at} @click=${() => this.#take(place)}>
          <span>${one.name}</span>${one.hint ? html`<kbd>${one.hint}</kbd>` : nothing}</li>`)}
        ${this.isNew ? html`<li id=${`choice-${found.length}`} role="option" aria-selected=${this.at === found.length} @click=${() => this.#create()}>
          <span>New: ${tidy(this.typed)}</span><kbd>${found.length ? "Shift+Enter" : "Enter"}</kbd></li>` : nothing}
      </ul>
      ${found.length || this.isNew ? nothing : html`<p class="dim">${this.asked.create ? "Type a name." : "Nothing is called that."}</p>`}
    </dialog>`;
  }
}
customElements.define("lk-choose", Choose);

/** Ask for a choice. @param {Asked} asked */
export function choose(asked) {
  const found = /** @type {Choose} */ (document.querySelector("lk-choose"));
  return found.open(asked);
}
