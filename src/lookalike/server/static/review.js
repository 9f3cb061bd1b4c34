// Review: what needs me?

import { html, LitElement } from "./vendor/lit.js";
import { store } from "./session.js";
import { Follow } from "./store.js";

class Review extends LitElement {
  constructor() {
    super();
    new Follow(this, store);
  }

  createRenderRoot() {
    return this;
  }

  render() {
    return html`<div class="wrap"><h1>Review</h1></div>`;
  }
}
customElements.define("lk-review", Review);
