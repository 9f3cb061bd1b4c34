// Choosing by typing: a few letters, then Enter. The palette and the label field are made of it.

import { html, LitElement, nothing } from "./vendor/lit.js";
import { openModal } from "./dialog.js";
import { hint } from "./keys.js";
import { offered, tidy } from "./labels.js";

/**
 * `take` gets the choice; with `create`, a name that is not there may be made, which is called `making`. `typed` is there to begin with.
 * @typedef {{name: string, hint?: string}} Choice
 * @typedef {{title: string, placeholder: string, choices: Choice[], take: (name: string) => void, create?: (name: string) => void, making?: string, typed?: string}} Asked
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
    const { typed = "" } = asked;
    Object.assign(this, { asked, typed, at: 0 });
    this.requestUpdate();
    openModal(dialog, "field", {
      accept: () => this.#take(),
      create: () => this.#create(),
      down: () => this.#move(1),
      up: () => this.#move(-1),
    });
    const input = /** @type {HTMLInputElement} */ (this.querySelector("input"));
    input.value = typed;
    input.focus();
    input.setSelectionRange(typed.length - (typed.split("> ").at(-1) ?? "").length, typed.length);
    await this.updateComplete;
  }

  /** What is offered, in its order. */
  get rows() {
    const { choices, create } = this.asked;
    return offered(this.typed, choices.map((one) => one.name), { creates: Boolean(create) });
  }

  /** @param {number} by */
  #move(by) {
    const count = this.rows.length || 1;
    this.at = (this.at + by + count) % count;
    this.requestUpdate();
  }

  /** Take the row that is marked. */
  #take(at = this.at) {
    const row = this.rows[at];
    if (row) this.#end(row.isNew ? this.asked.create : this.asked.take, row.name);
  }

  /** Make what is typed, wherever it stands; where it is there already, take it. */
  #create() {
    const name = tidy(this.typed);
    this.#take(Math.max(0, this.rows.findIndex((one) => one.isNew || one.name === name)));
  }

  /** @param {((name: string) => void) | undefined} take @param {string} name */
  #end(take, name) {
    this.querySelector("dialog")?.close();
    take?.(name);
  }

  render() {
    const { rows, asked } = this;
    return html`<dialog class="sheet narrow" aria-label=${asked.title}>
      <input role="combobox" aria-label=${asked.title} aria-expanded="true" aria-controls="choices" aria-autocomplete="list"
        aria-activedescendant=${rows.length ? `choice-${this.at}` : nothing} placeholder=${asked.placeholder}
        autocomplete="off" spellcheck="false" @input=${(/** @type {any} */ event) => (Object.assign(this, { typed: event.target.value, at: 0 }), this.requestUpdate())} />
      <ul class="choices" id="choices" role="listbox" aria-label=${asked.title}>
        ${rows.map((one, place) => html`<li id=${`choice-${place}`} role="option" aria-selected=${place === this.at} @click=${() => this.#take(place)}>
          <span>${one.isNew ? html`<span class="dim">${asked.making ?? "New label"}:</span> ${one.name}` : one.name}</span>${this.#keys(one, place)}</li>`)}
      </ul>
      ${rows.length ? nothing : html`<p class="dim">${asked.create ? "Type a name." : "Nothing is called that."}</p>`}
    </dialog>`;
  }

  /** Which keys take a row. @param {{name: string, isNew: boolean}} row @param {number} place */
  #keys({ name, isNew }, place) {
    const slot = this.asked.choices.find((one) => one.name === name)?.hint;
    const key = place === this.at ? hint("accept", "field") : isNew ? hint("create", "field") : "";
    return html`<span class="does">${slot && !isNew ? html`<kbd>${slot}</kbd>` : nothing} ${key ? html`<kbd>${key}</kbd>` : nothing}</span>`;
  }
}
customElements.define("lk-choose", Choose);

/** Ask for a choice. @param {Asked} asked */
export function choose(asked) {
  const found = /** @type {Choose} */ (document.querySelector("lk-choose"));
  return found.open(asked);
}
