// Why: the references that caused a label or a null, and what would be without them.

import { html, LitElement } from "./vendor/lit.js";

class Why extends LitElement {
  createRenderRoot() {
    return this;
  }

  render() {
    return html`<aside class="drawer" aria-label="Why"></aside>`;
  }
}
customElements.define("lk-why", Why);
