// The rubber band: a rectangle that is drawn over tiles with the pointer, also beyond what is on screen.

import { keyboard } from "./session.js";

const LEAST_PX = 5;
const EDGE_PX = 48;
const FASTEST_PX_A_MS = 1.6;
const LONGEST_MS = 50;

/**
 * `seen` is how far the list is scrolled, in the px of all of it; `begin` hears whether what is spanned is
 * added, `span` the rectangle so far, `end` whether it holds.
 * @typedef {{left: number, right: number, top: number, bottom: number}} Box
 * @typedef {{seen: (scroller: HTMLElement) => number, begin: (adds: boolean) => void, span: (box: Box) => void, end: (isKept: boolean) => void}} How
 */

export class Band {
  /** @param {How} how */
  constructor(how) {
    this.how = how;
    this.isOn = false;
    this.hasEnded = false;
    /** @type {HTMLElement | null} */
    this.mark = null;
  }

  /** Begin where the pointer is pressed on a list, or on nothing in it. @param {PointerEvent} event @param {HTMLElement} scroller the list */
  press(event, scroller) {
    const place = scroller.getBoundingClientRect();
    this.hasEnded = false;
    if (event.button || event.pointerType === "touch" || event.clientX - place.left > scroller.clientWidth) return;
    this.scroller = scroller;
    this.pointer = { x: event.clientX, y: event.clientY };
    this.start = this.#point();
    this.adds = event.shiftKey || event.ctrlKey || event.metaKey;
    this.over = new AbortController();
    const { signal } = this.over;
    addEventListener("pointermove", (moved) => this.#move(moved), { signal });
    addEventListener("pointerup", () => this.#end(true), { signal });
    addEventListener("pointercancel", () => this.#end(false), { signal });
    for (const name of ["pointerup", "pointercancel"]) addEventListener(name, () => setTimeout(() => (this.hasEnded = false)), { once: true });
  }

  /** What ends a band is no click on the tile below. @param {Event} event */
  click(event) {
    if (this.hasEnded) event.stopPropagation();
  }

  #point() {
    const scroller = /** @type {HTMLElement} */ (this.scroller);
    const place = scroller.getBoundingClientRect();
    const { x, y } = /** @type {{x: number, y: number}} */ (this.pointer);
    return { x: x - place.left, y: y - place.top + this.how.seen(scroller) };
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const moved = this.pointer && Math.hypot(event.clientX - this.pointer.x, event.clientY - this.pointer.y);
    if (!this.isOn && Number(moved) < LEAST_PX) return;
    this.pointer = { x: event.clientX, y: event.clientY };
    if (!this.isOn) {
      this.isOn = true;
      this.unbind = keyboard.bind("everywhere", { close: () => this.#end(false) });
      this.how.begin(Boolean(this.adds));
      requestAnimationFrame((now) => this.#scroll(now));
    }
    this.#draw();
  }

  /** Go on while the pointer is held at an edge, the faster the nearer. @param {number} now @param {number} [before] in ms */
  #scroll(now, before = now) {
    if (!this.isOn || !this.scroller || !this.pointer) return;
    const { top, bottom } = this.scroller.getBoundingClientRect();
    const above = top + EDGE_PX - this.pointer.y;
    const below = this.pointer.y - bottom + EDGE_PX;
    const speed = FASTEST_PX_A_MS * Math.min(Math.max(above, below, 0) / EDGE_PX / 2, 1) * (above > below ? -1 : 1);
    const was = this.scroller.scrollTop;
    this.scroller.scrollTop += speed * Math.min(now - before, LONGEST_MS);
    if (this.scroller.scrollTop !== was) this.#draw();
    requestAnimationFrame((next) => this.#scroll(next, now));
  }

  #draw() {
    const [scroller, start] = [this.scroller, this.start];
    if (!scroller || !start) return;
    const now = this.#point();
    const box = { left: Math.min(start.x, now.x), right: Math.max(start.x, now.x), top: Math.min(start.y, now.y), bottom: Math.max(start.y, now.y) };
    this.#paint(scroller, box);
    this.how.span(box);
  }

  /** @param {HTMLElement} scroller @param {Box} box */
  #paint(scroller, box) {
    this.mark ??= Object.assign(document.createElement("div"), { className: "band" });
    if (!this.mark.isConnected) document.body.append(this.mark);
    const place = scroller.getBoundingClientRect();
    const shift = place.top - this.how.seen(scroller);
    const [top, bottom] = [box.top, box.bottom].map((side) => Math.min(Math.max(side + shift, place.top), place.bottom));
    const [left, right] = [box.left, box.right].map((side) => Math.min(Math.max(side, 0), place.width) + place.left);
    Object.assign(this.mark.style, { top: `${top}px`, left: `${left}px`, width: `${right - left}px`, height: `${bottom - top}px` });
  }

  /** @param {boolean} isKept */
  #end(isKept) {
    this.over?.abort();
    if (!this.isOn) return;
    this.isOn = false;
    this.hasEnded = true;
    this.mark?.remove();
    this.unbind?.();
    this.how.end(isKept);
  }
}
