// By what a map is coloured: labels, who gave them, or how sure they are; its legend says the same.

import { counted, namePlaces, NO_LABEL, NO_SCORE, OTHER_LABEL, STATES } from "./points.js";
import { huesOf, inMemory, SHAPES, stepOf } from "./raster.js";

const HUES = 7; // the eighth is grey, as what has no label is
const STEPS = 5;
const FAINT = 0.45;

export const COLOURINGS = [
  { id: "label", name: "Label" },
  { id: "state", name: "Who" },
  { id: "score", name: "How sure" },
];

/** What each state is called, with the sign that stands for it everywhere. */
export const STATE_NAMES = { null: "? No label", given: "✓ By a person", auto: "⟲ By itself", disputed: "! Disputed" };
const STATE_COLOURS = { null: "--amber", given: "--green", auto: "--accent", disputed: "--red" };

/**
 * One line of the legend: the values of the column that it stands for.
 * @typedef {{key: string, name: string, count: number, values: number[], colour: string}} Line
 * @typedef {import("./points.js").Points} Points
 */

/** @type {Map<string, number>} */
const hues = new Map();

/** @param {string} name of a custom property */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Return a colour as the browser resolves it: light or dark. @param {string} name of a custom property */
export function resolved(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found || colour(name);
}

/** Return how points are drawn and what the legend lists. @param {Points} points @param {string} by @param {string} only the key of the one line that is shown, or "" */
export function lookOf(points, by, only) {
  const ground = resolved("--ground");
  const dim = resolved("--dim");
  const look = {
    column: points.label, colours: new Uint32Array(256), shapes: new Uint8Array(256), hidden: new Uint8Array(256), faint: new Uint8Array(256),
    ground: inMemory(ground), ink: resolved("--ink"), halo: ground, accent: resolved("--accent"),
    names: /** @type {[string, number, number][]} */ ([]),
  };
  const lines = by === "state" ? byState(points, look) : by === "score" ? byScore(points, look) : byLabel(points, look);
  for (const line of lines) for (const value of line.values) look.colours[value] = inMemory(line.colour || dim, look.faint[value] ? FAINT : 1, ground);
  const kept = lines.find((one) => one.key === only);
  if (kept) {
    look.hidden.fill(1);
    for (const value of kept.values) [look.hidden[value], look.faint[value]] = [0, 0];
    for (const value of kept.values) look.colours[value] = inMemory(kept.colour || dim, 1, ground);
    look.names = look.names.filter(([name]) => name === leafOf(kept.name));
  }
  return { look, lines };
}

/** The last part of a label. @param {string} label */
export function leafOf(label) {
  return label.split(" > ").at(-1) ?? label;
}

/** @param {Points} points @param {any} look @returns {Line[]} */
function byLabel(points, look) {
  const places = namePlaces(points);
  const palette = Array.from({ length: HUES }, (_, hue) => resolved(`--hue-${hue + 1}`));
  const given = huesOf(places, HUES, points.labels.map((one) => hues.get(one.name)));
  points.labels.forEach((one, code) => hues.set(one.name, given[code]));
  points.labels.forEach((one, code) => {
    const place = places[code];
    if (place) look.names.push([leafOf(one.name), ...place]);
  });
  const many = new Map(counted(points.label));
  const listed = points.labels
    .map((one, code) => ({ key: one.name, name: one.name, count: many.get(code) ?? 0, values: [code], colour: palette[given[code]] }))
    .filter((one) => one.count);
  look.faint[NO_LABEL] = look.faint[OTHER_LABEL] = 1;
  return [...listed, ...rest(points.label, [["·other", "Other labels", OTHER_LABEL], ["·none", "? No label", NO_LABEL]])];
}

/** Lines for values that have no colour of their own, where there are any. @param {Uint8Array} column @param {[string, string, number][]} named @returns {Line[]} */
function rest(column, named) {
  const many = new Map(counted(column));
  return named.filter((one) => many.get(one[2])).map(([key, name, value]) => ({ key, name, count: many.get(value) ?? 0, values: [value], colour: "" }));
}

/** @param {Points} points @param {any} look @returns {Line[]} */
function byState(points, look) {
  look.column = points.state;
  look.shapes[STATES.indexOf("null")] = SHAPES.ring;
  look.shapes[STATES.indexOf("disputed")] = SHAPES.cross;
  const many = new Map(counted(points.state));
  return STATES.map((state, value) => ({
    key: state, name: STATE_NAMES[/** @type {keyof typeof STATE_NAMES} */ (state)], count: many.get(value) ?? 0, values: [value],
    colour: resolved(STATE_COLOURS[/** @type {keyof typeof STATE_COLOURS} */ (state)]),
  })).filter((one) => one.count);
}

/** @param {Points} points @param {any} look @returns {Line[]} */
function byScore(points, look) {
  const steps = new Uint8Array(256);
  for (let score = 0; score < 256; score += 1) steps[score] = score === NO_SCORE ? NO_SCORE : stepOf(score, STEPS);
  look.column = points.score.map((score) => steps[score]);
  look.faint[NO_SCORE] = 1;
  const many = new Map(counted(look.column));
  const ramp = Array.from({ length: STEPS }, (_, step) => resolved(`--step-${step + 1}`));
  const edge = (/** @type {number} */ step) => (step / STEPS).toFixed(1);
  const lines = Array.from({ length: STEPS }, (_, step) => ({
    key: `step-${step}`, name: `${edge(step)} to ${edge(step + 1)}`, count: many.get(step) ?? 0, values: [step], colour: ramp[step],
  })).reverse();
  return [...lines.filter((one) => one.count), ...rest(look.column, [["·none", "Not known", NO_SCORE]])];
}

