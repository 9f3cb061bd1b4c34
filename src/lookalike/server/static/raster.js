// Points into pixels: one pass over typed arrays, straight into the picture's memory. Pure.

import { MOST_SCORE, NO_SCORE } from "./points.js";

/**
 * @typedef {import("./points.js").Points} Points
 * @typedef {Pick<import("./stage.js").Look, "column" | "colours" | "shapes" | "hidden" | "faint">} Look
 */

/**
 * Where a map is looked at: `scale` pixels a unit, `left` and `top` where its corner is.
 * @typedef {{scale: number, left: number, top: number}} View
 */

export const SHAPES = { square: 0, ring: 1, cross: 2 };

/** Return how wide a point is, in pixels. @param {number} count @param {number} zoom @param {number} ratio of device pixels */
export function widthOf(count, zoom, ratio) {
  const base = count <= 3000 ? 6 : count <= 20000 ? 4 : count <= 150000 ? 2 : 1;
  const more = Math.min(5, Math.floor(Math.log2(Math.max(1, zoom)) * (count <= 150000 ? 1.5 : 0.75)));
  return Math.max(1, Math.round((base + more) * ratio));
}

/**
 * Draw the first `upto` points that are shown into `pixels` (width × height), over what is there;
 * those that are faint come first.
 * @param {Uint32Array} pixels @param {number} width @param {number} height @param {Points} points @param {Look} look
 * @param {View} view @param {number} wide of a point @param {number} upto
 */
export function draw(pixels, width, height, points, look, view, wide, upto) {
  const many = Math.min(upto, points.count);
  if (look.faint.includes(1)) pass(pixels, width, height, points, look, view, wide, many, 1);
  pass(pixels, width, height, points, look, view, wide, many, 0);
}

/** @param {Uint32Array} pixels @param {number} width @param {number} height @param {Points} points @param {Look} look @param {View} view @param {number} wide @param {number} many @param {number} which */
function pass(pixels, width, height, { x, y }, { colours, shapes, column, hidden, faint }, { scale, left, top }, wide, many, which) {
  const half = wide >> 1;
  const [right, bottom] = [width - wide, height - wide];
  const skip = new Uint8Array(256);
  for (let value = 0; value < 256; value += 1) skip[value] = hidden[value] || faint[value] !== which ? 1 : 0;
  if (wide === 1) {
    for (let i = 0; i < many; i += 1) {
      const value = column[i];
      if (skip[value]) continue;
      const px = ((x[i] - left) * scale) | 0;
      const py = ((y[i] - top) * scale) | 0;
      if (px >= 0 && py >= 0 && px < width && py < height) pixels[py * width + px] = colours[value];
    }
    return;
  }
  for (let i = 0; i < many; i += 1) {
    const value = column[i];
    if (skip[value]) continue;
    const px = (((x[i] - left) * scale) | 0) - half;
    const py = (((y[i] - top) * scale) | 0) - half;
    if (px >= 0 && py >= 0 && px <= right && py <= bottom) stamp(pixels, width, px, py, wide, colours[value], shapes[value]);
  }
}

/** @param {Uint32Array} pixels @param {number} width @param {number} px @param {number} py @param {number} wide @param {number} colour @param {number} shape */
function stamp(pixels, width, px, py, wide, colour, shape) {
  const round = wide >= 4 ? 1 : 0;
  const last = wide - 1;
  for (let row = 0; row < wide; row += 1) {
    const line = (py + row) * width + px;
    const edge = row === 0 || row === last;
    const inset = edge ? round : 0;
    for (let at = inset; at < wide - inset; at += 1) {
      const isEdge = edge || at === 0 || at === last;
      const isOn = shape === SHAPES.square || wide < 4 || (shape === SHAPES.ring ? isEdge : at === row || at === last - row);
      if (isOn) pixels[line + at] = colour;
    }
  }
}

/** Return a colour such as #e69f00 as it lies in a picture's memory. @param {string} colour @param {number} [share] of it over `ground` @param {string} [ground] */
export function inMemory(colour, share = 1, ground = colour) {
  const [red, green, blue] = mixed(partsOf(colour), partsOf(ground), share);
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** @param {string} colour #rrggbb, #rgb or rgb(…) */
export function partsOf(colour) {
  const text = colour.trim();
  if (text.startsWith("#")) {
    const hex = text.length === 4 ? [...text.slice(1)].map((one) => one + one).join("") : text.slice(1, 7);
    return [0, 2, 4].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
  }
  return (text.match(/[\d.]+/g) ?? ["0", "0", "0"]).slice(0, 3).map(Number);
}

/** @param {number[]} one @param {number[]} other @param {number} share */
export function mixed(one, other, share) {
  return one.map((part, place) => Math.round(part * share + other[place] * (1 - share)));
}

/**
 * Give each label one of some hues, so that labels that lie near each other have different ones.
 * @param {([number, number] | null)[]} places where labels lie, the commonest first
 * @param {number} hues @param {(number | undefined)[]} known those that have one already keep it
 */
export function huesOf(places, hues, known = []) {
  const given = places.map((_, code) => known[code] ?? -1);
  places.forEach((place, code) => {
    if (given[code] >= 0) return;
    const worth = new Float64Array(hues);
    given.forEach((hue, other) => {
      if (hue < 0) return;
      const there = places[other];
      const far = place && there ? (place[0] - there[0]) ** 2 + (place[1] - there[1]) ** 2 : 1e10;
      worth[hue] += 1 / (far + 1e6);
    });
    given[code] = worth.indexOf(Math.min(...worth));
  });
  return given;
}

/** Return the step, of `steps`, that a score belongs to; -1 for none. @param {number} score @param {number} steps */
export function stepOf(score, steps) {
  return score === NO_SCORE ? -1 : Math.min(steps - 1, Math.floor((score / (MOST_SCORE + 1)) * steps));
}

