// What of a long list is on screen, and where it is put.

/** A browser lays out no taller element than 33,554,428 px; beyond this the sizer stands for more. */
export const TALLEST_PX = 15_000_000;

/**
 * Return which rows are on screen, and where they are put; `real` is how far the list is scrolled: below `TALLEST_PX` each at its own place,
 * beyond it in proportion, so that the end of the bar is the end of the list.
 * @param {{count: number, columns: number, row: number, top: number, height: number}} at
 */
export function windowOf({ count, columns, row, top, height }) {
  const rows = Math.ceil(count / columns);
  const whole = rows * row;
  const sizer = Math.min(whole, TALLEST_PX);
  const room = Math.max(sizer - height, 1);
  const real = whole <= TALLEST_PX ? top : (Math.min(top, room) / room) * Math.max(whole - height, 0);
  const first = Math.max(0, Math.floor(real / row) - 1);
  const last = Math.min(rows, Math.ceil((real + height) / row) + 1);
  return { sizer, first, last, offset: top - real + first * row, real };
}

/** Return where to scroll so that a row is at the top. @param {{count: number, columns: number, row: number, height: number}} at @param {number} wanted a row */
export function topOf({ count, columns, row, height }, wanted) {
  const whole = Math.ceil(count / columns) * row;
  const real = Math.max(0, Math.min(wanted * row, whole - height));
  if (whole <= TALLEST_PX) return real;
  return (real / (whole - height)) * (TALLEST_PX - height);
}
