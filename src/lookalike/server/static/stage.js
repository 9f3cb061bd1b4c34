// The canvas of the map: where one looks, what is drawn of it, what the pointer does there.

import { boxOf, Index, SIDE, within } from "./points.js";
import { draw, widthOf } from "./raster.js";

/** @typedef {import("./points.js").Points} Points */

const SETTLES_MS = 120;
const SMOOTH_MS = 12;
const PREFIX = 150_000;
const REACH = 9;
const MOST_ZOOM = 200;
const MARGIN = 1.04;

/**
 * What is drawn of points. `column` gives each point's value; `colours`, `shapes`, `hidden` and `faint`
 * (256) tell how it is drawn, or that it is not; `names` stand on the map: [text, x, y].
 * @typedef {{column: Uint8Array, colours: Uint32Array, shapes: Uint8Array, hidden: Uint8Array, faint: Uint8Array,
 *   ground: number, ink: string, halo: string, accent: string, names: [string, number, number][]}} Look
 */

/**
 * Draws points and follows the pointer. Tells `view` when one looks elsewhere, `hover` with a row or
 * -1, `chosen` with the rows within a lasso.
 */
export class Stage extends EventTarget {
  /** @param {HTMLElement} host @param {HTMLCanvasElement} canvas @param {HTMLCanvasElement} over */
  constructor(host, canvas, over) {
    super();
    this.host = host;
    this.canvas = canvas;
    this.over = over;
    this.paper = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    this.glass = /** @type {CanvasRenderingContext2D} */ (over.getContext("2d"));
    /** @type {Points | null} */
    this.points = null;
    /** @type {Look | null} */
    this.look = null;
    /** @type {Index | null} */
    this.index = null;
    this.x = 0.5;
    this.y = 0.5;
    this.zoom = 1;
    this.tool = "move";
    this.hovered = -1;
    /** @type {import("./points.js").Group | null} */
    this.group = null;
    /** @type {Uint32Array | null} */
    this.marked = null;
    /** @type {[number, number][]} */
    this.lasso = [];
    this.lastMs = 0;
    this.ratio = 1;
    /** @type {ImageData | null} */
    this.image = null;
    /** @type {Uint32Array | null} */
    this.pixels = null;
    this.frame = 0;
    this.settling = 0;
    this.resizer = new ResizeObserver(() => this.fit());
    this.resizer.observe(host);
    host.addEventListener("pointerdown", (event) => this.#down(event));
    host.addEventListener("pointermove", (event) => this.#hover(event));
    host.addEventListener("pointerleave", () => this.#tellHover(-1));
    host.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.fit();
  }

  end() {
    this.resizer.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.settling);
  }

  /** @param {Points} points */
  show(points) {
    const isSame = this.points?.snapshot === points.snapshot;
    this.points = points;
    if (!isSame) this.index = null;
  }

  /** Whether a point is drawn. @param {number} row */
  isShown = (row) => !(this.look && this.look.hidden[this.look.column[row]]);

  fit() {
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    const { width, height } = this.host.getBoundingClientRect();
    const [wide, high] = [Math.max(1, Math.round(width * this.ratio)), Math.max(1, Math.round(height * this.ratio))];
    if (this.image?.width === wide && this.image.height === high) return;
    for (const one of [this.canvas, this.over]) [one.width, one.height] = [wide, high];
    this.image = this.paper.createImageData(wide, high);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.paint();
  }

  /** @returns {import("./raster.js").View} */
  get view() {
    const { width, height } = this.canvas;
    const scale = (Math.min(width, height) / (SIDE * MARGIN)) * this.zoom;
    return { scale, left: this.x * SIDE - width / scale / 2, top: this.y * SIDE - height / scale / 2 };
  }

  /** @param {number} x @param {number} y @param {number} zoom */
  lookAt(x, y, zoom) {
    this.zoom = Math.max(0.5, Math.min(MOST_ZOOM, zoom));
    this.x = Math.max(0, Math.min(1, x));
    this.y = Math.max(0, Math.min(1, y));
    this.move();
    this.dispatchEvent(new Event("view"));
  }

  /** Move by parts of what is seen. @param {number} across @param {number} down */
  pan(across, down) {
    const { scale } = this.view;
    this.lookAt(this.x + (across * this.canvas.width) / scale / SIDE, this.y + (down * this.canvas.height) / scale / SIDE, this.zoom);
  }

  /** @param {number} by @param {[number, number]} [about] a place on the canvas that stays where it is */
  zoomBy(by, about = [this.canvas.width / 2, this.canvas.height / 2]) {
    const before = this.at(...about);
    const zoom = Math.max(0.5, Math.min(MOST_ZOOM, this.zoom * by));
    this.zoom = zoom;
    const after = this.at(...about);
    this.lookAt(this.x + (before[0] - after[0]) / SIDE, this.y + (before[1] - after[1]) / SIDE, zoom);
  }

  /** Look at a group. @param {import("./points.js").Group} group */
  goTo(group) {
    this.group = group;
    const [left, top, right, bottom] = boxOf(group);
    const room = Math.max(right - left, bottom - top, SIDE / 40) * 3;
    this.lookAt((left + right) / 2 / SIDE, (top + bottom) / 2 / SIDE, Math.max(1, SIDE / room));
  }

  /** The place on the map of a place on the canvas. @param {number} px @param {number} py @returns {[number, number]} */
  at(px, py) {
    const { scale, left, top } = this.view;
    return [left + px / scale, top + py / scale];
  }

  /** The place on the canvas of a place on the map. @param {number} x @param {number} y @returns {[number, number]} */
  on(x, y) {
    const { scale, left, top } = this.view;
    return [(x - left) * scale, (y - top) * scale];
  }

  /** Draw what changes while one moves: a sample of the points, and all of them when it rests. */
  move() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.#draw(this.lastMs > SMOOTH_MS ? PREFIX : Infinity));
    clearTimeout(this.settling);
    this.settling = window.setTimeout(() => this.#draw(Infinity), SETTLES_MS);
  }

  /** Draw all soon. */
  paint() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.#draw(Infinity));
  }

  /** @param {number} upto */
  #draw(upto) {
    const { points, look, pixels, image } = this;
    if (!pixels || !image) return;
    const began = performance.now();
    pixels.fill(look?.ground ?? 0xffffffff);
    if (points && look) {
      const wide = widthOf(points.count, this.zoom, this.ratio);
      draw(pixels, image.width, image.height, points, look, this.view, wide, upto);
    }
    this.paper.putImageData(image, 0, 0);
    const isWhole = upto >= (points?.count ?? 0);
    if (isWhole) this.lastMs = performance.now() - began;
    this.#overlay();
    performance.measure(isWhole ? "map-draw" : "map-pan", { start: began, end: performance.now() });
    this.dispatchEvent(new Event("drawn"));
  }

  #overlay() {
    const { glass, look, points } = this;
    glass.clearRect(0, 0, this.over.width, this.over.height);
    if (!look || !points) return;
    const ratio = this.ratio;
    if (this.marked) this.#ring(look, ratio);
    if (this.group) {
      const [left, top, right, bottom] = boxOf(this.group);
      const [[x, y], [xx, yy]] = [this.on(left, top), this.on(right, bottom)];
      glass.strokeStyle = look.accent;
      glass.lineWidth = 2 * ratio;
      glass.strokeRect(x, y, xx - x, yy - y);
    }
    this.#names(look, ratio);
    if (this.hovered >= 0) this.#circle(look.ink, this.hovered, 7 * ratio);
    if (this.lasso.length > 1) {
      glass.beginPath();
      for (const [x, y] of this.lasso) glass.lineTo(...this.on(x, y));
      glass.closePath();
      glass.strokeStyle = look.accent;
      glass.lineWidth = 2 * ratio;
      glass.stroke();
      glass.globalAlpha = 0.12;
      glass.fillStyle = look.accent;
      glass.fill();
      glass.globalAlpha = 1;
    }
  }

  /** Show which points are chosen, the first ones of many. @param {Look} look @param {number} ratio */
  #ring(look, ratio) {
    const { glass, points } = this;
    if (!points || !this.marked) return;
    const half = widthOf(points.count, this.zoom, ratio) / 2 + ratio;
    glass.strokeStyle = look.accent;
    glass.lineWidth = ratio;
    glass.beginPath();
    for (const row of this.marked.subarray(0, 5000)) {
      const [x, y] = this.on(points.x[row], points.y[row]);
      glass.rect(x - half, y - half, 2 * half, 2 * half);
    }
    glass.stroke();
  }

  /** @param {string} colour @param {number} row @param {number} radius */
  #circle(colour, row, radius) {
    const { glass, points } = this;
    if (!points) return;
    glass.beginPath();
    glass.arc(...this.on(points.x[row], points.y[row]), radius, 0, 7);
    glass.strokeStyle = colour;
    glass.lineWidth = 2 * this.ratio;
    glass.stroke();
  }

  /** Write names where they lie, the commonest first, none over another. @param {Look} look @param {number} ratio */
  #names(look, ratio) {
    const { glass } = this;
    glass.font = `600 ${12 * ratio}px system-ui, sans-serif`;
    glass.textAlign = "center";
    glass.textBaseline = "middle";
    glass.lineJoin = "round";
    /** @type {number[][]} */
    const taken = [];
    for (const [text, x, y] of look.names) {
      const [px, py] = this.on(x, y);
      if (px < 0 || py < 0 || px > this.over.width || py > this.over.height) continue;
      const half = glass.measureText(text).width / 2 + 4 * ratio;
      const box = [px - half, py - 9 * ratio, px + half, py + 9 * ratio];
      if (taken.some((one) => box[0] < one[2] && box[2] > one[0] && box[1] < one[3] && box[3] > one[1])) continue;
      taken.push(box);
      glass.strokeStyle = look.halo;
      glass.lineWidth = 4 * ratio;
      glass.strokeText(text, px, py);
      glass.fillStyle = look.ink;
      glass.fillText(text, px, py);
    }
  }

  // --- the pointer ---------------------------------------------------------------------------------

  /** @param {PointerEvent | WheelEvent} event @returns {[number, number]} */
  #place(event) {
    const box = this.host.getBoundingClientRect();
    return [(event.clientX - box.left) * this.ratio, (event.clientY - box.top) * this.ratio];
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button !== 0 || !this.points) return;
    this.host.setPointerCapture(event.pointerId);
    const draws = this.tool === "lasso" || event.shiftKey;
    const began = this.#place(event);
    let last = began;
    let isMoved = false;
    this.lasso = draws ? [this.at(...began)] : [];
    const move = (/** @type {PointerEvent} */ now) => {
      const here = this.#place(now);
      isMoved ||= Math.hypot(here[0] - began[0], here[1] - began[1]) > 3;
      if (draws) {
        this.lasso.push(this.at(...here));
        this.#overlay();
      } else if (isMoved) {
        const { scale } = this.view;
        this.lookAt(this.x - (here[0] - last[0]) / scale / SIDE, this.y - (here[1] - last[1]) / scale / SIDE, this.zoom);
      }
      last = here;
    };
    const up = (/** @type {PointerEvent} */ now) => {
      this.host.removeEventListener("pointermove", move);
      this.host.removeEventListener("pointerup", up);
      this.host.removeEventListener("pointercancel", up);
      if (draws && isMoved && now.type === "pointerup") this.#choose();
      else if (!isMoved && this.hovered >= 0) this.#tellChosen(Uint32Array.of(this.hovered));
      this.lasso = [];
      this.#overlay();
    };
    this.host.addEventListener("pointermove", move);
    this.host.addEventListener("pointerup", up);
    this.host.addEventListener("pointercancel", up);
  }

  #choose() {
    if (!this.points) return;
    const began = performance.now();
    const rows = within(this.points, this.lasso, this.isShown);
    performance.measure("map-lasso", { start: began, end: performance.now() });
    this.#tellChosen(rows);
  }

  /** @param {Uint32Array} rows */
  #tellChosen(rows) {
    this.dispatchEvent(new CustomEvent("chosen", { detail: rows }));
  }

  /** @param {PointerEvent} event */
  #hover(event) {
    if (!this.points || event.buttons) return;
    this.index ??= new Index(this.points);
    const [px, py] = this.#place(event);
    const row = this.index.nearest(this.points, ...this.at(px, py), (REACH * this.ratio) / this.view.scale, this.isShown);
    this.#tellHover(row, event);
  }

  /** @param {number} row @param {PointerEvent} [event] */
  #tellHover(row, event) {
    if (row === this.hovered) return;
    this.hovered = row;
    this.host.dataset.over = row < 0 ? "" : String(row);
    this.#overlay();
    this.dispatchEvent(new CustomEvent("hover", { detail: { row, x: event?.clientX ?? 0, y: event?.clientY ?? 0 } }));
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    this.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), this.#place(event));
  }
}
