// How sure it is, as a histogram with a limit to be dragged; and what limits give, as a curve with a band.

import { html, LitElement, nothing, ref, svg } from "./vendor/lit.js";
import { FEW, binned, pointAt, scaled, ticks } from "./estimates.js";
import { hundredth, inHundred } from "./figures.js";

const BINS = 50;
const HEIGHT = 200;
const TOP = 24;
const BOTTOM = 20;
const CURVE = { width: 520, height: 300, left: 44, right: 12, top: 12, bottom: 40 };

/**
 * The limit as a slider over a histogram of confidence. `at` is where it stands, `now` the limit in
 * force; dragging it gives events `limit` with the value, in hundredths.
 */
class LimitChart extends LitElement {
  static properties = { curve: { attribute: false }, now: { type: Number }, at: { type: Number }, words: {} };

  constructor() {
    super();
    /** @type {import("./estimates.js").Point[]} */
    this.curve = [];
    /** @type {number | null} */
    this.now = null;
    this.at = 1;
    this.words = "";
    this.width = 960;
    this.isDragged = false;
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.watch = new ResizeObserver(([one]) => {
      this.width = Math.max(Math.round(one.contentRect.width), 200);
      this.requestUpdate();
    });
    this.watch.observe(this);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.watch?.disconnect();
  }

  /** @param {PointerEvent} event */
  #press(event) {
    this.isDragged = true;
    /** @type {Element} */ (event.currentTarget).setPointerCapture(event.pointerId);
    /** @type {HTMLElement | null} */ (this.querySelector("[role=slider]"))?.focus({ preventScroll: true });
    this.#drag(event);
  }

  /** @param {PointerEvent} event */
  #drag(event) {
    if (!this.isDragged) return;
    const { left, width } = this.getBoundingClientRect();
    const value = Math.round(100 * Math.min(Math.max((event.clientX - left) / width, 0), 1)) / 100;
    if (value !== this.at) this.dispatchEvent(new CustomEvent("limit", { detail: value }));
  }

  /** @param {number} bin */
  #kind(bin) {
    const middle = (bin + 0.5) / BINS;
    const now = this.now ?? 1.01;
    if (middle > this.at) return middle > now ? "in" : "comes";
    return middle > now ? "goes" : "out";
  }

  render() {
    const counts = binned(this.curve, BINS);
    const most = Math.max(...counts, 1);
    const x = (/** @type {number} */ value) => scaled(value, [0, 1], [0, this.width]);
    const y = (/** @type {number} */ count) => scaled(count, [0, most], [HEIGHT - BOTTOM, TOP]);
    const wide = this.width / BINS;
    const { now } = this;
    return html`<div class="limit" @pointerdown=${this.#press} @pointermove=${this.#drag} @pointerup=${() => (this.isDragged = false)} @pointercancel=${() => (this.isDragged = false)}>
      <svg width=${this.width} height=${HEIGHT} viewBox="0 0 ${this.width} ${HEIGHT}" aria-hidden="true">
        ${ticks(0, most, 3).map((one) => svg`<line class="rule" x1="0" x2=${this.width} y1=${y(one)} y2=${y(one)}></line>`)}
        ${counts.map((count, bin) => svg`<rect class=${this.#kind(bin)} x=${bin * wide + 0.5} width=${wide - 1} y=${count ? Math.min(y(count), HEIGHT - BOTTOM - 1) : y(0)} height=${count ? Math.max(y(0) - y(count), 1) : 0}></rect>`)}
        ${ticks(0, most, 3).map((one) => svg`<text class="over" x="2" y=${y(one) - 3}>${one ? one.toLocaleString() : ""}</text>`)}
        ${ticks(0, 1, 10).map((one) => svg`<text x=${x(one)} y=${HEIGHT - 5} text-anchor=${one === 0 ? "start" : one === 1 ? "end" : "middle"}>${one.toFixed(1)}</text>`)}
        ${now === null ? nothing : svg`<line class="now" x1=${x(now)} x2=${x(now)} y1=${TOP} y2=${HEIGHT - BOTTOM}></line>`}
      </svg>
      <div class="handle ${this.at > 0.5 ? "left" : ""}" role="slider" tabindex="0" aria-label="Limit" aria-orientation="horizontal" aria-valuemin="0" aria-valuemax="1" aria-valuenow=${this.at} aria-valuetext=${this.words}
        ${ref((handle) => handle && (/** @type {HTMLElement} */ (handle).style.left = `${100 * this.at}%`))}><b>${this.at.toFixed(2)}</b></div>
    </div>`;
  }
}
customElements.define("lk-limit", LimitChart);

/**
 * @typedef {{limit: number, checked: number, low: number, high: number}} Bound
 * @typedef {{curve: import("./estimates.js").Point[], at: number, now: number | null, band: Bound[], random: {checked: number, rate: number | null, low: number | null, high: number | null} | null}} Told
 */

/** Return what limits give, as a curve: how much has a label, and how much of it is right. @param {Told} told */
export function curveChart({ curve, at, now, band, random }) {
  const { width, height, left, right, top, bottom } = CURVE;
  const drawn = curve.filter((one) => one.labelled && one.precision !== null);
  const least = Math.min(...drawn.map((one) => Number(one.precision)), ...band.filter((one) => one.checked >= FEW).map((one) => one.low), 0.9);
  const floor = Math.max(Math.floor(least * 10) / 10, 0);
  const x = (/** @type {number} */ coverage) => scaled(coverage, [0, 1], [left, width - right]);
  const y = (/** @type {number} */ share) => scaled(Math.max(share, floor), [floor, 1], [height - bottom, top]);
  const place = (/** @type {number} */ limit) => x(pointAt(curve, limit).coverage);
  const line = drawn.map((one) => `${x(one.coverage)},${y(Number(one.precision))}`).join(" ");
  const area = [...band.map((one) => `${place(one.limit)},${y(one.high)}`), ...band.toReversed().map((one) => `${place(one.limit)},${y(one.low)}`)].join(" ");
  const mark = (/** @type {number | null} */ limit, /** @type {string} */ kind) => {
    const point = limit === null ? null : pointAt(curve, limit);
    return point && point.precision !== null ? svg`<circle class=${kind} cx=${x(point.coverage)} cy=${y(point.precision)} r="5"></circle>` : nothing;
  };
  const here = pointAt(curve, at);
  const told = `At the limit ${at.toFixed(2)}, ${inHundred(here.coverage)} have a label${here.precision === null ? "" : `, of which ${inHundred(here.precision)} may be right`}`;
  return html`<svg class="curve" viewBox="0 0 ${width} ${height}" role="img" aria-label=${told}>
    ${ticks(floor, 1, 5).map((one) => svg`<line class="rule" x1=${left} x2=${width - right} y1=${y(one)} y2=${y(one)}></line><text x=${left - 6} y=${y(one) + 4} text-anchor="end">${hundredth(one)}</text>`)}
    ${ticks(0, 1, 5).map((one) => svg`<text x=${x(one)} y=${height - bottom + 16} text-anchor=${one === 1 ? "end" : "middle"}>${hundredth(one)}</text>`)}
    <text class="name" x=${width - right} y=${height - 6} text-anchor="end">% have a label</text>
    <text class="name" x=${left + 6} y=${height - bottom - 8}>% of its labels are right</text>
    ${band.length ? svg`<polygon class="band" points=${area}></polygon>` : nothing}
    <polyline class="estimate" points=${line}></polyline>
    <line class="here" x1=${x(here.coverage)} x2=${x(here.coverage)} y1=${top} y2=${height - bottom}></line>
    ${random?.checked && now !== null ? svg`<line class="span" x1=${place(now)} x2=${place(now)} y1=${y(1 - Number(random.low))} y2=${y(1 - Number(random.high))}></line>
      <circle class=${random.checked < FEW ? "few" : "many"} cx=${place(now)} cy=${y(1 - Number(random.rate))} r="4"></circle>` : nothing}
    ${mark(now, "now")} ${mark(at, "at")}
  </svg>`;
}
