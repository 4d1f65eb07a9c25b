/**
 * A text whose words are tinted by their bits.
 *
 * @import {Piece, TintedBlock} from "../wire/types.js"
 */
import { h } from "../dom/elements.js";

/** Words with at least this many bits have the darkest tint. */
const MAX_BITS = 20;

/** @param {TintedBlock} block */
export function renderTinted(block) {
  return h(
    "figure",
    { class: "heat-map" },
    words(block.pieces, "How much each word surprised the model, in bits", tintOf, (bits) => bits.toFixed(1)),
    h(
      "figcaption",
      { class: "legend" },
      "0 bits ",
      h("span", { class: "scale", "aria-hidden": "true" }),
      ` ${MAX_BITS} bits: the darker, the more a word surprised the model`,
    ),
  );
}

/**
 * Return a text in which each scored word can be reached, with its bits as a caption and in its name.
 *
 * @param {Piece[]} pieces
 * @param {string} label
 * @param {(bits: number) => Record<string, string | number>} tint
 * @param {(bits: number) => string} caption
 */
function words(pieces, label, tint, caption) {
  const children = pieces.flatMap(([text, bits]) => {
    if (bits === null || Number.isNaN(bits) || text.trim() === "") return [text];
    const [, before = "", word = "", after = ""] = /^(\s*)([\s\S]*?)(\s*)$/.exec(text) ?? [];
    const said = `${caption(bits)} bits`;
    const name = { "aria-label": `${word}: ${said}`, "data-note": said, "data-caption": caption(bits) };
    return [before, h("span", { class: "word", role: "option", tabindex: -1, ...name, ...tint(bits) }, word), after];
  });
  const isEmpty = !children.some((child) => child instanceof HTMLElement);
  if (isEmpty) return h("p", { class: "words", dir: "auto" }, children);
  const list = { role: "listbox", "aria-label": label, "aria-orientation": "horizontal" };
  return h("div", { class: "words", dir: "auto", ...list }, children);
}

/** @param {number} bits */
function tintOf(bits) {
  return { "--tint": Math.max(0, Math.min(1, bits / MAX_BITS)).toFixed(3) };
}
