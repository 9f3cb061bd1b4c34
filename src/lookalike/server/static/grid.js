// placeholder until below
import { html, LitElement } from "./vendor/lit.js";
class Grid extends LitElement { createRenderRoot() { return this; } render() { return html``; } }
customElements.define("lk-grid", Grid);
