// The overlay of keys, made from their registry.

import { html, LitElement } from "./vendor/lit.js";
import { KEYS, SCOPES, shown } from "./keys.js";
import { keyboard } from "./session.js";
import { openModal } from "./dialog.js";

const SETTING = "single letters";

class Help extends LitElement {
  createRenderRoot() {
    keyboard.hasLetters = localStorage.getItem(SETTING) !== "off";
    return this;
  }

  open() {
    const dialog = /** @type {HTMLDialogElement} */ (this.querySelector("dialog"));
    if (!dialog.open) openModal(dialog, "help");
  }

  /** @param {Event} event */
  #switch(event) {
    keyboard.hasLetters = /** @type {HTMLInputElement} */ (event.target).checked;
    localStorage.setItem(SETTING, keyboard.hasLetters ? "on" : "off");
    this.requestUpdate();
  }

  render() {
    const shownOnce = new Set(["left", "right", "up", "down", "extendLeft", "extendRight", "extendUp", "extendDown", "first", "last", "pageUp", "pageDown"]);
    return html`<dialog class="sheet" aria-labelledby="help-title">
      <header><h2 id="help-title">Keys</h2><button class="quiet" @click=${() => this.querySelector("dialog")?.close()}>Close <kbd>Esc</kbd></button></header>
      <div class="columns">
        ${Object.entries(SCOPES).map(([scope, title]) => html`<section>
          <h3>${title}</h3>
          <dl>
            ${scope === "items" ? html`<div><dt><kbd>← → ↑ ↓</kbd></dt><dd>move; with Shift select</dd></div><div><dt><kbd>Home</kbd><kbd>End</kbd><kbd>PgUp</kbd><kbd>PgDn</kbd></dt><dd>jump</dd></div>` : ""}
            ${KEYS.filter((one) => one.scope === scope && !(scope === "items" && shownOnce.has(one.id))).map((one) => html`<div>
              <dt>${one.id === "slot" ? html`<kbd>1 – 9</kbd>` : one.keys.map((key) => html`<kbd>${shown(key)}</kbd>`)}</dt><dd>${one.does}</dd>
            </div>`)}
          </dl>
        </section>`)}
      </div>
      <label class="check"><input type="checkbox" .checked=${keyboard.hasLetters} @change=${this.#switch} /> Single letters are keys</label>
    </dialog>`;
  }
}
customElements.define("lk-help", Help);
