// Numbers as people read them: shares, and rates with how sure they are.

/** @param {number} share */
export function percent(share) {
  const value = 100 * share;
  return `${value >= 99.95 || value < 0.05 ? Math.round(value) : value.toFixed(1)} %`;
}

/** A rate with its interval, from how many it was counted. @param {{rate: number | null, low: number | null, high: number | null, checked: number}} told */
export function rate({ rate: found, low, high, checked }) {
  if (!checked || found === null || low === null || high === null) return null;
  return { rate: percent(found), interval: `${percent(low)} – ${percent(high)}`, from: `from ${checked.toLocaleString()} checked`, isThin: checked < 30 };
}

/** @param {number} days */
export function inDays(days) {
  if (days < 1) return "today";
  return days < 2 ? "by tomorrow" : `in about ${Math.round(days)} days`;
}
