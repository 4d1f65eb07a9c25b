/**
 * Tables. One with long rows is a list of rows where there is little room.
 *
 * @import {TableBlock} from "../wire/types.js"
 */
import { h } from "../dom/elements.js";
import { withCode } from "./code.js";

/** How many characters stand beside each other on a small screen. */
const MAX_BESIDE = 38;

/** A cell that is one number is never broken. */
const FIGURE = /^[-+−]?[\d.,]+(?: ?(?:%|ms|s|bits))?$/;

/** @param {Pick<TableBlock, "columns" | "rows">} block */
export function renderTable({ columns, rows }) {
  const widths = columns.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const isLong = columns.length > 2 && widths.reduce((sum, width) => sum + width, 0) > MAX_BESIDE;
  // The roles stay where the style sheet makes blocks of rows and cells.
  const head = columns.map(renderHead);
  const body = rows.map((row) =>
    h(
      "tr",
      { role: "row" },
      row.map((cell, i) => renderCell(cell, columns[i] ?? "")),
    ),
  );
  const table = h(
    "table",
    { class: isLong ? "table is-long" : "table", role: "table" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
    h("tbody", { role: "rowgroup" }, body),
  );
  // Cells break anywhere; what can't be broken at all is scrolled to.
  return h("div", { class: "wide" }, table);
}

/** @param {string} name */
function renderHead(name) {
  if (name === "") return h("td", { role: "cell" });
  return h("th", { scope: "col", role: "columnheader", dir: "auto" }, h("span", {}, name));
}

/**
 * @param {string} cell
 * @param {string} column
 */
function renderCell(cell, column) {
  const kind = FIGURE.test(cell) ? "figure" : cell === "" ? "is-empty" : null;
  return h("td", { role: "cell", dir: "auto", class: kind, "data-column": column }, h("span", {}, withCode(cell)));
}
