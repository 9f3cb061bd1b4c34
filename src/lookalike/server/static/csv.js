// Reading a table: comma, semicolon or tab, quotes as in RFC 4180.

/** Return the rows of a table with a head, as objects. @param {string} text @returns {Record<string, string>[]} */
export function rowsOf(text) {
  const clean = text.replace(/^\uFEFF/, "");
  const first = clean.slice(0, clean.search(/\r?\n|$/));
  const counts = [",", ";", "\t"].map((one) => ({ one, count: first.split(one).length }));
  const separator = counts.sort((a, b) => b.count - a.count)[0].one;
  const [head, ...rest] = cells(clean, separator).filter((row) => row.some((cell) => cell !== ""));
  return rest.map((row) => Object.fromEntries((head ?? []).map((name, place) => [name.trim() || `column ${place + 1}`, row[place] ?? ""])));
}

/** Return the column that holds what is to be read: the one with most letters. @param {Record<string, string>[]} rows */
export function contentColumn(rows) {
  const some = rows.slice(0, 200);
  const names = Object.keys(rows[0] ?? {});
  const letters = (/** @type {string} */ name) => some.reduce((sum, row) => sum + (row[name]?.length ?? 0), 0);
  return names.sort((a, b) => letters(b) - letters(a))[0] ?? "";
}

/** @param {string} text @param {string} separator @returns {string[][]} */
function cells(text, separator) {
  const rows = [[""]];
  let isQuoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const one = text[at];
    const row = rows[rows.length - 1];
    if (isQuoted) {
      if (one !== '"') row[row.length - 1] += one;
      else if (text[at + 1] === '"') row[row.length - 1] += text[(at += 1)];
      else isQuoted = false;
    } else if (one === '"' && row[row.length - 1] === "") isQuoted = true;
    else if (one === separator) row.push("");
    else if (one === "\n") rows.push([""]);
    else if (one !== "\r") row[row.length - 1] += one;
  }
  return rows;
}
