// The figures of the review page: intervals as the server counts them, bins, scales and words.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  bandOf, binned, errorRate, exact, halfWidthAfter, limitFor, pointAt, points, scaled, ticks,
} from "../../src/lookalike/server/static/estimates.js";
import { between, inHundred } from "../../src/lookalike/server/static/figures.js";

const CURVE = Array.from({ length: 101 }, (_, place) => {
  const limit = (100 - place) / 100;
  return { limit, labelled: place, coverage: place / 100, precision: place ? 1 - place / 200 : null };
});

/** @param {number} value */
const rounded = (value) => Math.round(value * 10000) / 10000;

test("an interval is that of Clopper and Pearson", () => {
  assert.deepEqual(Object.values(exact(3, 50)).map(rounded), [0.0125, 0.1655]);
  assert.deepEqual(Object.values(exact(0, 59)).map(rounded), [0, 0.0606]);
  assert.deepEqual(Object.values(exact(10, 10)).map(rounded), [0.6915, 1]);
  assert.deepEqual(Object.values(exact(4000, 8000)).map(rounded), [0.489, 0.511]);
  assert.deepEqual(exact(0, 0), { low: 0, high: 1 });
});

test("a rate is told with its interval and what it rests on", () => {
  const told = { checked: 50, wrong: 3, rate: 0.06, low: 0.0125, high: 0.1655 };

  assert.equal(errorRate(told), "3 of 50 wrong: 6 % (1–17 %)");
  assert.equal(errorRate({ ...told, checked: 0 }), "nothing checked yet");
  assert.equal(inHundred(0.004), "0.4 %");
  assert.equal(inHundred(0.996), "99.6 %");
  assert.equal(inHundred(null), "unknown");
  assert.equal(between({ low: 0, high: 1 }), "0–100 %");
});

test("more checks make an interval narrower", () => {
  const widths = [0, 29, 300].map((more) => halfWidthAfter(3, 50, more));

  assert.ok(widths[0] > widths[1] && widths[1] > widths[2]);
  assert.equal(points(widths[1]), "±6 points");
  assert.equal(points(0.001), "±1 points");
});

test("bins hold what lies between two limits, the last one all that is sure", () => {
  const few = CURVE.map((one) => ({ ...one, labelled: one.limit > 0.9 ? 2 : 7 }));

  assert.deepEqual(binned(CURVE, 4), [25, 25, 25, 25]);
  assert.deepEqual(binned(few, 10), [0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
  assert.equal(binned(few, 50).reduce((sum, one) => sum + one), 7);
});

test("a limit finds its point, and a target its limit", () => {
  assert.equal(pointAt(CURVE, 0.305).limit, 0.3);
  assert.equal(pointAt(CURVE, 7).limit, 1);
  assert.equal(limitFor(CURVE, 0.95), 0.9);
  assert.equal(limitFor(CURVE, 0.9999), null);
});

test("a band is counted from the checks that lie above a limit, and ends where none were drawn", () => {
  const checks = [0.5, 0.6, 0.7, 0.8, 0.9].map((confidence, place) => ({ confidence, verdict: place ? "right" : "wrong" }));
  const band = bandOf([...checks, { confidence: 0.95, verdict: "cannot_tell" }], 0.5);

  assert.equal(band[0].limit, 0.9);
  assert.deepEqual([band.at(-1)?.limit, band.at(-1)?.checked, band.at(-1)?.right], [0.5, 5, 4]);
  assert.equal(rounded(band.at(-1)?.low ?? 0), 0.2836);
  assert.deepEqual(bandOf([], 0.2), []);
});

test("ticks are round, and a scale is straight", () => {
  assert.deepEqual(ticks(0, 1, 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(ticks(0.87, 1, 3), [0.9, 0.95, 1]);
  assert.deepEqual(ticks(0, 37, 4), [0, 10, 20, 30]);
  assert.equal(scaled(0.5, [0, 1], [10, 30]), 20);
  assert.equal(scaled(3, [3, 3], [10, 30]), 10);
});
