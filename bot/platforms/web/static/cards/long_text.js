/** Texts shown unchanged; of a very long one the beginning, until a person asks for all of it. */
import { h } from "../dom/elements.js";

const MAX_SHOWN = 6000;

/**
 * @param {string} text
 * @param {string} kind The class of the element.
 */
export function longText(text, kind) {
  const tag = kind === "verbatim" ? "pre" : "div";
  if (text.length <= MAX_SHOWN) return h(tag, { class: kind, dir: "auto" }, text);
  const shown = text.slice(0, MAX_SHOWN).replace(/[\ud800-\udbff]$/, "");
  const rest = text.slice(shown.length);
  return h(
    "div",
    {},
    h(tag, { class: kind, dir: "auto" }, `${shown} …`),
    h(
      "details",
      { class: "rest" },
      h("summary", {}, `Show the other ${rest.length.toLocaleString("en")} characters`),
      h(tag, { class: kind, dir: "auto" }, rest),
    ),
  );
}
