// Short messages at the foot of the page: what was done, and what to do when it was not.

import { html, LitElement, repeat } from "./vendor/lit.js";

const SHOWN_MS = 8000;

/** @typedef {{kind?: "good" | "bad" | "wait" | "plain", id?: string, stays?: boolean, actions?: {name: string, run: () => void}[]}} How */

/** @type {{text: string, id: string, kind: string, actions: {name: string, run: () => void}[], timer: number}[]} */
let messages = [];
const changed = new EventTarget();

/** Show a message; one with the same id takes the place of another. @param {string} text @param {How} [how] */
export function tell(text, { kind = "plain", id = text, stays = false, actions = [] } = {}) {
  drop(id);
  const timer = stays ? 0 : window.setTimeout(() => drop(id), SHOWN_MS);
  messages = [...messages.slice(-2), { text, id, kind, actions, timer }];
  changed.dispatchEvent(new Event("change"));
}

/** Take a message away. @param {string} id */
export function drop(id) {
  messages.filter((one) => one.id === id).forEach((one) => clearTimeout(one.timer));
  messages = messages.filter((one) => one.id !== id);
  changed.dispatchEvent(new Event("change"));
}

class Toasts extends LitElement {
  createRenderRoot() {
    changed.addEventListener("change", () => this.requestUpdate());
    return this;
  }

  render() {
    return html`<div class="toasts" role="status" aria-live="polite">
      ${repeat(messages, (one) => one.id, (one) => html`<div class="toast ${one.kind}">
        <p>${one.text}</p>
        ${one.actions.map((action) => html`<button class="quiet" @click=${action.run}>${action.name}</button>`)}
        <button class="quiet" aria-label="Close the message" @click=${() => drop(one.id)}>×</button>
      </div>`)}
    </div>`;
  }
}
customElements.define("lk-toasts", Toasts);
