/** Cells from the clipboard or a file, as spreadsheets and people write them. */

/** @typedef {"csv" | "tsv" | "jsonl"} RowFormat */

/**
 * Return the format of a file's rows by its name, null for another file.
 *
 * @param {string} name
 * @returns {RowFormat | null}
 */
export function formatOfFile(name) {
  const ending = name.toLowerCase().split(".").at(-1) ?? "";
  if (ending === "csv" || ending === "tsv" || ending === "jsonl") return ending;
  return ending === "tab" ? "tsv" : null;
}

/**
 * Guess the format of a pasted text.
 *
 * @param {string} text
 * @returns {RowFormat}
 */
export function formatOfText(text) {
  if (text.trimStart().startsWith("{")) return "jsonl";
  return text.includes("\t") ? "tsv" : "csv";
}

/**
 * Return the cells of tab-separated lines; a cell in quotation marks may have line breaks.
 *
 * @param {string} text
 * @returns {string[][]}
 */
export function cellsOf(text) {
  /** @type {string[][]} */
  const rows = [[]];
  let cell = "";
  let isQuoted = false;
  const clean = text.replaceAll("\r\n", "\n").replaceAll("\r", "\n").replace(/\n$/, "");
  for (let i = 0; i < clean.length; i++) {
    const sign = clean[i];
    if (isQuoted && sign === '"' && clean[i + 1] === '"') {
      cell += '"';
      i++;
    } else if (sign === '"' && (isQuoted || (cell === "" && endsQuoted(clean, i)))) isQuoted = !isQuoted;
    else if (!isQuoted && (sign === "\t" || sign === "\n")) {
      rows.at(-1)?.push(cell);
      cell = "";
      if (sign === "\n") rows.push([]);
    } else cell += sign;
  }
  rows.at(-1)?.push(cell);
  return rows;
}

/**
 * Say whether the quotation mark at `start` has one that ends a cell: else it is a letter like others.
 *
 * @param {string} text
 * @param {number} start
 */
function endsQuoted(text, start) {
  return /^"(?:[^"]|"")*"(?=\t|\n|$)/.test(text.slice(start));
}
