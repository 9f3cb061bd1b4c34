// Start: what do I do now?

import { html, LitElement } from "./vendor/lit.js";
import { store } from "./session.js";
import { Follow } from "./store.js";

class Start extends LitElement {
  constructor() {
    super();
    new Follow(this, store);
  }

  createRenderRoot() {
    return this;
  }

  render() {
    return html`<div class="wrap"><h1>Start</h1></div>`;
  }
}
customElements.define("lk-start", Start);
