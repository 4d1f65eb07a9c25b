/**
 * Texts held against the first of them, word below word.
 *
 * @import {ContrastBlock, ContrastedText, Piece, TableBlock} from "../wire/types.js"
 */
import { h } from "../dom/elements.js";
import { alignTexts } from "./alignment.js";

/** Words with at least this many bits more or fewer have the darkest tints. */
const MAX_DIFFERENCE = 10;
/** A smaller difference would be shown as 0.0. */
const SMALLEST = 0.05;

/**
 * @param {ContrastBlock} block
 * @param {(table: Omit<TableBlock, "type">) => HTMLElement} renderTable
 */
export function renderContrast({ texts, tables }, renderTable) {
  const name = texts[0]?.name ?? "";
  const columns = alignTexts(texts.map((text) => text.pieces.filter(([word]) => word.trim() !== "")));
  const label = `The words of ${texts.map((text) => text.name).join(", ")}, one below the other, with their bits`;
  return h(
    "div",
    { class: "contrast" },
    h(
      "ul",
      { class: "contrast-heads" },
      texts.map((text, i) => head(text, i === 0 ? null : (texts[0] ?? null))),
    ),
    h(
      "div",
      { class: "columns", role: "listbox", "aria-label": label, "aria-orientation": "horizontal", dir: "auto" },
      columns.map((column) =>
        h(
          "div",
          { class: "column", role: "group" },
          column.map((piece, i) => cell(piece, texts[i]?.name ?? "", i === 0)),
        ),
      ),
    ),
    h(
      "p",
      { class: "legend" },
      h("span", { class: "swatch", "aria-hidden": "true" }),
      " more bits than in ",
      h("bdi", {}, name),
      " ",
      h("span", { class: "swatch is-fewer", "aria-hidden": "true" }),
      " fewer",
    ),
    tables.length > 0 && h("details", { class: "rest" }, h("summary", {}, "Show as tables"), tables.map(renderTable)),
  );
}

/**
 * @param {ContrastedText} text
 * @param {ContrastedText | null} first What it is held against.
 */
function head(text, first) {
  const more =
    first === null ? [] : [`, ${(text.total_bits - first.total_bits).toFixed(1)} more than `, h("bdi", {}, first.name)];
  return h("li", {}, h("b", {}, h("bdi", {}, text.name)), ` · ${text.total_bits.toFixed(1)} bits`, more);
}

/**
 * @param {Piece | null} piece
 * @param {string} name
 * @param {boolean} isFirst
 */
function cell(piece, name, isFirst) {
  if (piece === null) return h("div", { class: "no-word", "aria-hidden": "true" }, "–");
  const [text, bits] = piece;
  const word = text.trim();
  if (bits === null || Number.isNaN(bits)) return h("div", { class: "word", role: "option", tabindex: -1 }, word);
  const caption = isFirst ? bits.toFixed(1) : signed(bits);
  const attributes = {
    class: "word",
    role: "option",
    tabindex: -1,
    "aria-label": `${name}, ${word}: ${caption} bits`,
    "data-note": `${caption} bits`,
    "data-caption": caption,
  };
  return h("div", { ...attributes, ...(isFirst ? {} : tintOf(bits)) }, word);
}

/** @param {number} bits */
function tintOf(bits) {
  if (Math.abs(bits) < SMALLEST) return {};
  const share = Math.min(1, Math.abs(bits) / MAX_DIFFERENCE).toFixed(3);
  return { "data-more": bits > 0 ? "yes" : "no", "--tint": share };
}

/** @param {number} bits */
function signed(bits) {
  // A minus sign is as wide as a plus.
  return Math.abs(bits) < SMALLEST ? "0.0" : `${bits > 0 ? "+" : "−"}${Math.abs(bits).toFixed(1)}`;
}
