/**
 * The cells of a table of rows: a text, or a label that is chosen.
 *
 * @import {Row} from "../wire/types.js"
 */
import { h } from "../dom/elements.js";

/** @typedef {HTMLTextAreaElement | HTMLSelectElement} Cell */

/** @param {Row} row */
export function isEmpty(row) {
  return row[0].trim() === "" && row[1].trim() === "";
}

/**
 * @param {HTMLTableRowElement} line
 * @param {number} part
 * @returns {Cell}
 */
export function cellOf(line, part) {
  return /** @type {Cell} */ (line.cells[part + 1]?.firstElementChild);
}

/**
 * @param {Cell} cell
 * @param {string} value
 * @param {string[]} labels
 */
export function setCell(cell, value, labels) {
  if (cell instanceof HTMLTextAreaElement) {
    if (cell.value !== value) cell.value = value;
    return;
  }
  if (cell.value === value && cell.options.length > 0) return;
  // What is no label is shown as it is: it came by paste, or the labels have changed.
  const isKnown = value === "" || labels.includes(value);
  const known = labels.map((label) => h("option", { value: label }, label));
  const unknown = isKnown ? null : h("option", { value }, `${value} (no label)`);
  cell.replaceChildren(h("option", { value: "" }, "Choose …"), ...known, ...(unknown === null ? [] : [unknown]));
  cell.value = value;
  markUnknown(cell, labels);
}

/**
 * @param {HTMLSelectElement} select
 * @param {string[]} labels
 */
export function markUnknown(select, labels) {
  if (select.value !== "" && !labels.includes(select.value)) select.setAttribute("aria-invalid", "true");
  else select.removeAttribute("aria-invalid");
}

/** @param {Cell} cell */
export function isAtStart(cell) {
  return cell instanceof HTMLTextAreaElement && !cell.value.slice(0, cell.selectionStart).includes("\n");
}

/** @param {Cell} cell */
export function isAtEnd(cell) {
  return cell instanceof HTMLTextAreaElement && !cell.value.slice(cell.selectionEnd).includes("\n");
}
