// History: what happened, and back to before it.

import { html, LitElement } from "./vendor/lit.js";

class History extends LitElement {
  createRenderRoot() {
    return this;
  }

  render() {
    return html`<aside class="drawer" aria-label="History"></aside>`;
  }
}
customElements.define("lk-history", History);
