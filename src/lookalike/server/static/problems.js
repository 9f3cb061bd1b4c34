// What may be wrong with references, from what the server found: one after the other, the worst first.

import { leafOf } from "./looks.js";

/**
 * `flag` is its badge, `said` the same as a sentence, `weight` how soon to look at it; `instead` the
 * label that it may be.
 * @typedef {{flag: string, said: string, weight: number, isBad: boolean, instead?: string}} Problem
 * @typedef {{label: string, problems: Problem[]}} Doubtful
 */

/** Return what may be wrong with each reference, by its id. @param {any} inspection @returns {Map<string, Doubtful>} */
export function problemsOf(inspection) {
  const found = /** @type {Map<string, Doubtful>} */ (new Map());
  const add = (/** @type {string} */ id, /** @type {string | null} */ label, /** @type {Problem} */ problem) => {
    const one = found.get(id) ?? { label: label ?? "", problems: [] };
    one.label ||= label ?? "";
    one.problems = [...one.problems, problem].sort((a, b) => b.weight - a.weight);
    found.set(id, one);
  };
  for (const one of inspection?.blamed ?? []) {
    const of = one.corrected + one.confirmed;
    const said = `People corrected ${one.corrected} of the ${of} labels that it caused and they looked at${one.instead ? `, mostly to ${one.instead}` : ""}.`;
    if (one.label) add(one.id, one.label, { flag: `${one.corrected} corrected`, said, weight: 3 + one.at_least, isBad: one.at_least > 0.5 });
  }
  for (const one of inspection?.suspects ?? []) {
    const said = `It looks like ${one.looks_like}, not ${one.label}: ${oddsOf(one.odds)} to one.`;
    add(one.id, one.label, { flag: `like ${leafOf(one.looks_like)}?`, said, weight: 4 + Math.min(one.odds ?? 1e6, 1e6) / 1e6, isBad: (one.odds ?? 1e6) > 20, instead: one.looks_like });
  }
  for (const group of inspection?.duplicates ?? []) {
    const isConflict = new Set(group.labels).size > 1;
    group.ids.forEach((/** @type {string} */ id, /** @type {number} */ place) => {
      const label = group.labels[place];
      const others = [...new Set(group.labels.filter((/** @type {string} */ one) => one !== label))].join(", ");
      if (isConflict) add(id, label, { flag: "contradicted", said: `All but the same picture or text is called ${others}.`, weight: 6, isBad: true });
      else if (place) add(id, label, { flag: "near-duplicate", said: "Another reference is all but the same: this one adds nothing, and does no harm.", weight: 0, isBad: false });
    });
  }
  for (const id of inspection?.contested ?? []) add(id, null, { flag: "people disagree", said: "People gave it different labels; the last word votes.", weight: 5, isBad: true });
  return found;
}

/** Return the ids of what may be wrong, the worst first; near-duplicates do no harm. @param {Map<string, Doubtful>} problems @param {string} [label] */
export function doubtful(problems, label = "") {
  const weighed = [...problems].filter(([, one]) => (label ? isWithin(one.label, label) : one.problems[0].weight > 0));
  return weighed.sort((a, b) => b[1].problems[0].weight - a[1].problems[0].weight).map(([id]) => id);
}

/** What may be wrong with each label, in words. @param {any} inspection @returns {Map<string, string[]>} */
export function healthOf(inspection) {
  const found = new Map();
  for (const one of inspection?.labels ?? []) {
    const said = [];
    if (one.thin) said.push(`Thin: ${one.references === 1 ? "one reference" : `${one.references} references`}; five make it steady.`);
    if (one.unbalanced) said.push("Far more or fewer references than the other labels.");
    if (said.length) found.set(one.label, said);
  }
  for (const { labels, share } of inspection?.confused ?? []) {
    labels.forEach((/** @type {string} */ label, /** @type {number} */ place) => {
      found.set(label, [...(found.get(label) ?? []), `Confused with ${labels[1 - place]}: ${Math.round(100 * share)} % of both are taken for the other one.`]);
    });
  }
  return found;
}

/** @param {string} label @param {string} above */
export function isWithin(label, above) {
  return label === above || label.startsWith(`${above} > `);
}

/** @param {number | null} odds */
function oddsOf(odds) {
  return odds === null || odds > 1000 ? "over 1,000" : odds < 10 ? odds.toFixed(1) : Math.round(odds).toLocaleString();
}
