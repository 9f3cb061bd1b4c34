// A sheet: items with the labels that they would get, or have. One answer confirms all that nobody marked.

/**
 * What a person said of one item of a sheet: another label, or what it is not.
 * @typedef {{label: string} | {verdict: "out" | "new_kind" | "cannot_tell"}} Mark
 * @typedef {import("./queue.js").Strip} Strip
 */

/** Whether a question is a sheet. @param {{kind: string} | undefined} question */
export function isSheet(question) {
  return ["check", "suspect", "names"].includes(question?.kind ?? "");
}

/** Return a question with its items by label, the label with most of them first. @template {{documents: any[], suggestions?: (string | null)[]}} Q @param {Q} question @returns {Q} */
export function arranged(question) {
  const { documents, suggestions = [] } = question;
  /** @type {Map<string | null, number>} */
  const counts = new Map();
  suggestions.forEach((label) => counts.set(label, (counts.get(label) ?? 0) + 1));
  const order = documents.map((_, place) => place).sort((a, b) => {
    const [one, other] = [suggestions[a] ?? null, suggestions[b] ?? null];
    return (counts.get(other) ?? 0) - (counts.get(one) ?? 0) || (one ?? "\uffff").localeCompare(other ?? "\uffff") || a - b;
  });
  return { ...question, documents: order.map((place) => documents[place]), suggestions: order.map((place) => suggestions[place] ?? null) };
}

/**
 * Return the items by label: where each group begins, how many it has, and how many keep that label.
 * @param {Strip} sheet @returns {{label: string | null, start: number, count: number, kept: number}[]}
 */
export function groupsOf({ documents, suggestions, marks }) {
  const groups = /** @type {{label: string | null, start: number, count: number, kept: number}[]} */ ([]);
  documents.forEach((doc, place) => {
    const label = suggestions[place];
    if (!groups.length || groups[groups.length - 1].label !== label) groups.push({ label, start: place, count: 0, kept: 0 });
    const group = groups[groups.length - 1];
    group.count += 1;
    group.kept += marks.has(doc.document_id) ? 0 : 1;
  });
  return groups;
}

/** Mark an item; what it is called anyway is no mark, and null takes one off. @param {Strip} sheet @param {number} place @param {Mark | null} mark */
export function put(sheet, place, mark) {
  const id = sheet.documents[place].document_id;
  if (!mark || ("label" in mark && mark.label === sheet.suggestions[place])) sheet.marks.delete(id);
  else sheet.marks.set(id, mark);
}

/**
 * Return what a sheet is answered with. An item without a label that nobody named is in none of it, as is one
 * without a label that was dropped.
 * @param {Strip} sheet
 */
export function answersOf({ documents, suggestions, marks }) {
  const said = { labels: /** @type {{doc: any, label: string}[]} */ ([]), rejected: /** @type {{doc: any, label: string}[]} */ ([]), newKind: /** @type {any[]} */ ([]), cannotTell: /** @type {any[]} */ ([]) };
  documents.forEach((doc, place) => {
    const mark = marks.get(doc.document_id);
    const own = suggestions[place];
    const label = mark ? ("label" in mark ? mark.label : null) : own;
    if (label) said.labels.push({ doc, label });
    else if (mark && "verdict" in mark) {
      if (mark.verdict === "new_kind") said.newKind.push(doc);
      else if (mark.verdict === "cannot_tell") said.cannotTell.push(doc);
      else if (own) said.rejected.push({ doc, label: own });
    }
  });
  return said;
}

/** Return how many keep their label, were named otherwise, are not what they are called, or are something else again. @param {Strip} sheet */
export function countsOf({ documents, suggestions, marks }) {
  const all = [...marks.values()];
  const named = all.filter((one) => "label" in one).length;
  const out = all.filter((one) => "verdict" in one && one.verdict === "out").length;
  const kept = documents.filter((doc, place) => suggestions[place] && !marks.has(doc.document_id)).length;
  return { kept, named, out, other: all.length - named - out };
}

/** Return what the answer will be, in words. @param {Strip} sheet */
export function toldOf(sheet) {
  const { kept, named, out, other } = countsOf(sheet);
  const parts = [kept ? `${kept} ${sheet.kind === "suspect" ? "kept" : "confirmed"}` : "", named ? `${named} corrected` : "", out ? `${out} dropped` : "", other ? `${other} new or unclear` : ""];
  return parts.filter(Boolean).join(", ") || "Nothing";
}

/** Return about how many items more an answer gives their label, beside those of the sheet. @param {Strip} sheet */
export function moreOf({ worth, documents }) {
  return Math.max(0, Number((worth - documents.length).toPrecision(3)));
}
