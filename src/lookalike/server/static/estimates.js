// What figures rest on: exact intervals, what more checks would give, what a limit would give.

import { between, inHundred } from "./figures.js";

const TAIL = 0.025;
const HALVINGS = 50;
/** Below so many checks a mark is hollow: it may still move far. */
export const FEW = 30;

/** Return what checks tell: "3 of 50 wrong: 6 % (1–17 %)". @param {{checked: number, wrong: number, rate: number | null, low: number | null, high: number | null}} told */
export function errorRate({ checked, wrong, rate, low, high }) {
  if (!checked) return "nothing checked yet";
  const interval = low === null || high === null ? "" : ` (${between({ low, high })})`;
  return `${wrong} of ${checked.toLocaleString()} wrong: ${inHundred(rate)}${interval}`;
}

/** Return a half width in points: "±7 points". @param {number} half */
export function points(half) {
  return `±${Math.max(Math.round(half * 100), 1)} points`;
}

/** @type {number[]} */
const factorials = [0];

/** @param {number} n */
function logFactorial(n) {
  for (let one = factorials.length; one <= n; one += 1) factorials.push(factorials[one - 1] + Math.log(one));
  return factorials[n];
}

/** Return the chance of at most k of n, where each has the chance p. @param {number} k @param {number} n @param {number} p */
function atMost(k, n, p) {
  if (p <= 0) return 1;
  if (p >= 1) return k >= n ? 1 : 0;
  let sum = 0;
  for (let one = k; one >= 0; one -= 1) {
    const term = Math.exp(logFactorial(n) - logFactorial(one) - logFactorial(n - one) + one * Math.log(p) + (n - one) * Math.log1p(-p));
    sum += term;
    if (term < sum * 1e-12 && one < n * p) break;
  }
  return Math.min(sum, 1);
}

/**
 * Return the 95 % interval of a share of which k of n were seen: exact (Clopper and Pearson 1934).
 * @param {number} k @param {number} n @returns {import("./figures.js").Interval}
 */
export function exact(k, n) {
  if (!n) return { low: 0, high: 1 };
  return { low: k === 0 ? 0 : 1 - highest(n - k, n), high: k === n ? 1 : highest(k, n) };
}

/** @param {number} k @param {number} n */
function highest(k, n) {
  let [low, high] = [k / n, 1];
  for (let one = 0; one < HALVINGS; one += 1) {
    const middle = (low + high) / 2;
    if (atMost(k, n, middle) > TAIL) low = middle;
    else high = middle;
  }
  return high;
}

/**
 * Return the half width of the interval after `more` checks, where wrong ones stay as frequent.
 * @param {number} wrong @param {number} checked @param {number} more
 */
export function halfWidthAfter(wrong, checked, more) {
  const count = checked + more;
  const share = (wrong + 0.5) / (checked + 1);
  const { low, high } = exact(Math.min(Math.round(count * share), count), count);
  return (high - low) / 2;
}

/** @typedef {{limit: number, labelled: number, coverage: number, precision: number | null}} Point */

const STEPS = 100;

/** Return the point of a curve at a limit; curves fall from the limit 1 to 0. @param {Point[]} curve @param {number} limit */
export function pointAt(curve, limit) {
  const place = Math.round((1 - limit) * (curve.length - 1));
  return curve[Math.min(Math.max(place, 0), curve.length - 1)];
}

/** Return how many documents are in each of `count` equal bins from 0 to 1, by their curve. @param {Point[]} curve @param {number} count */
export function binned(curve, count) {
  const from = (/** @type {number} */ bin) => (bin >= count ? 0 : pointAt(curve, bin / count).labelled);
  return Array.from({ length: count }, (_, bin) => from(bin) - from(bin + 1));
}

/**
 * Return what checks tell of the share of right labels at each limit from `lowest` up, the highest
 * first. Below `lowest` nothing was checked. Only checks that were all drawn alike may be asked.
 * @param {{confidence: number | null, verdict: string}[]} checks @param {number} lowest
 */
export function bandOf(checks, lowest) {
  const known = checks.filter((one) => one.confidence !== null && one.verdict !== "cannot_tell");
  const found = [];
  for (let step = STEPS; step >= 0 && step / STEPS >= lowest - 1 / STEPS; step -= 1) {
    const limit = Math.max(step / STEPS, lowest);
    const here = known.filter((one) => Number(one.confidence) >= limit);
    const right = here.filter((one) => one.verdict === "right").length;
    if (here.length) found.push({ limit, checked: here.length, right, ...exact(right, here.length) });
  }
  return found;
}

/**
 * Return the limit from which on labels are right at a share, on average; null where none is.
 * @param {Point[]} curve @param {number} target
 */
export function limitFor(curve, target) {
  const fit = curve.filter((one) => one.labelled && one.precision !== null && one.precision >= target);
  return fit.length ? fit[fit.length - 1].limit : null;
}

/** Return round numbers that part a stretch, about `count` of them. @param {number} low @param {number} high @param {number} count */
export function ticks(low, high, count) {
  const rough = (high - low) / Math.max(count, 1) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((one) => one * power >= rough * 0.999) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, one) => Number(((first + one) * step).toPrecision(12)));
}

/** Return a value's place on a stretch of pixels. @param {number} value @param {[number, number]} from @param {[number, number]} to */
export function scaled(value, [low, high], [start, end]) {
  return start + ((value - low) / (high - low || 1)) * (end - start);
}
