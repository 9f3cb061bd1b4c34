// Numbers as people read them: shares, and rates with how sure they are.

/** @typedef {{low: number, high: number}} Interval */

/** Return a share as a percentage, without the sign: 6, 0.4, 99.2. @param {number} share */
export function hundredth(share) {
  const value = share * 100;
  const near = Math.min(value, 100 - value);
  return near > 0 && near < 1 ? value.toFixed(1).replace(/\.0$/, "") : String(Math.round(value));
}

/** Return a share as it is written: "6 %". @param {number | null | undefined} share */
export function inHundred(share) {
  return share == null ? "unknown" : `${hundredth(share)} %`;
}

/** Return an interval as it is written: "1–17 %". @param {Interval} interval */
export function between({ low, high }) {
  return `${hundredth(low)}–${hundredth(high)} %`;
}

/** A rate with its interval, from how many it was counted. @param {{rate: number | null, low: number | null, high: number | null, checked: number}} told */
export function rate({ rate: found, low, high, checked }) {
  if (!checked || found === null || low === null || high === null) return null;
  return { rate: inHundred(found), interval: between({ low, high }), from: `from ${checked.toLocaleString()} checked`, isThin: checked < 30 };
}

/** @param {number} days */
export function inDays(days) {
  if (days < 1) return "today";
  return days < 2 ? "by tomorrow" : `in about ${Math.round(days)} days`;
}
