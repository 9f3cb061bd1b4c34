// Rates drawn as a mark with its interval: hollow where few were checked.

import { html, nothing, svg } from "./vendor/lit.js";
import { exact, FEW, halfWidthAfter, points, scaled, ticks } from "./estimates.js";
import { between, inHundred } from "./figures.js";

const WIDTH = 220;
const EDGE = 8;
const MIDDLE = 12;

/** @typedef {{size: number, checked: number, wrong: number, rate: number | null, low: number, high: number}} Estimate */

/** Return a mark at a rate with its interval, on a scale from 0 to `most`. @param {Estimate} told @param {number} most */
export function whisker({ checked, rate, low, high }, most) {
  const x = (/** @type {number} */ value) => scaled(Math.min(value, most), [0, most], [EDGE, WIDTH - EDGE]);
  return html`<svg class="whisker" viewBox="0 0 ${WIDTH} 24" aria-hidden="true">
    <line class="rail" x1=${EDGE} x2=${WIDTH - EDGE} y1=${MIDDLE} y2=${MIDDLE}></line>
    ${checked ? svg`<line class="span" x1=${x(low)} x2=${x(high)} y1=${MIDDLE} y2=${MIDDLE}></line>` : nothing}
    ${checked && rate !== null ? svg`<circle class=${checked < FEW ? "few" : "many"} cx=${x(rate)} cy=${MIDDLE} r="4"></circle>` : nothing}
  </svg>`;
}

/** Return the numbers over marks on a scale from 0 to `most`. @param {number} most */
export function axis(most) {
  return html`<svg class="whisker axis" viewBox="0 0 ${WIDTH} 16" aria-hidden="true">
    ${ticks(0, most, 3).map((one) => svg`<text x=${scaled(one, [0, most], [EDGE, WIDTH - EDGE])} y="12" text-anchor=${one === 0 ? "start" : one > 0.9 * most ? "end" : "middle"}>${inHundred(one)}</text>`)}
  </svg>`;
}

/** Return how far a scale must reach for some intervals: up to all, in tenths. @param {Estimate[]} all */
export function reach(all) {
  const most = Math.max(0.1, ...all.filter((one) => one.checked).map((one) => one.high));
  return Math.min(Math.ceil(most * 10) / 10, 1);
}

/** Return what each label's checks tell, as a table. @param {Record<string, Estimate>} labels */
export function labelTable(labels) {
  const rows = Object.entries(labels).sort((a, b) => (b[1].rate ?? -1) - (a[1].rate ?? -1) || b[1].checked - a[1].checked);
  const most = reach(rows.map(([, one]) => one));
  return html`<table class="figures">
    <thead><tr><th scope="col">Label</th><th scope="col">Wrong</th><th scope="col">with its 95 % interval ${axis(most)}</th><th scope="col">from</th><th scope="col">of</th></tr></thead>
    <tbody>${rows.map(([label, one]) => html`<tr><th scope="row">${label}</th>
      <td class="number">${one.checked ? inHundred(one.rate) : "–"}</td>
      <td>${whisker(one, most)}<span class="dim">${one.checked ? between(one) : "nothing checked"}</span></td>
      <td class="number">${one.checked} checked</td><td class="number">${one.size.toLocaleString()}</td></tr>`)}</tbody>
  </table>
  ${rows.some(([, one]) => one.checked && one.checked < FEW) ? html`<p class="dim">A hollow mark rests on fewer than ${FEW} checks: it may still move far.</p>` : nothing}`;
}

/**
 * Return what further checks would bring, in a sentence.
 * @param {{estimate: Estimate, strata: any[], unanswered: number, closed_at: string | null, more_checks: {half_width: number, checks: number}[]}} audit
 */
export function whatMoreBrings({ estimate, strata, unanswered, closed_at, more_checks }) {
  const { wrong, checked } = estimate;
  if (unanswered && checked && strata.length === 1 && !closed_at) return `${unanswered} more → about ${points(halfWidthAfter(wrong, checked, unanswered))}`;
  const next = more_checks.find((one) => one.checks > 0);
  return checked && next ? `${next.checks.toLocaleString()} more → about ${points(next.half_width)}` : "";
}

/** Return checks as an estimate of one simple sample. @param {number} wrong @param {number} checked @param {number} size @returns {Estimate} */
export function simple(wrong, checked, size) {
  return { size, checked, wrong, rate: checked ? wrong / checked : null, ...exact(wrong, checked) };
}
