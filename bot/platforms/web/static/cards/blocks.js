/**
 * The blocks of a card as elements: one small function for each type.
 *
 * @import {BarsBlock, Block, ChoicesBlock, FactsBlock, ProgressBlock, TextBlock} from "../wire/types.js"
 */
import { h } from "../dom/elements.js";
import { percent } from "../dom/numbers.js";
import { renderTinted } from "./tints.js";
import { withCode } from "./code.js";
import { renderContrast } from "./contrast.js";
import { longText } from "./long_text.js";
import { renderTable } from "./table.js";

/**
 * @param {Block} block
 * @returns {HTMLElement}
 */
export function renderBlock(block) {
  switch (block.type) {
    case "text":
      return renderText(block);
    case "facts":
      return renderFacts(block);
    case "table":
      return renderTable(block);
    case "bars":
      return renderBars(block);
    case "tinted":
      return renderTinted(block);
    case "contrast":
      return renderContrast(block, renderTable);
    case "choices":
      return renderChoices(block);
    case "verbatim":
      return longText(block.text, "verbatim");
    case "progress":
      return renderProgress(block);
    default:
      return h("p", { class: "quiet" }, "This page is too old to show a part of this answer. Load it again.");
  }
}

/** @param {TextBlock} block */
function renderText(block) {
  if (block.is_model_text) return longText(block.text, "model-text");
  const element = h("p", { class: block.is_quiet ? "says quiet" : "says", dir: "auto" });
  element.append(...withCode(block.text));
  return element;
}

/** @param {FactsBlock} block */
function renderFacts(block) {
  const items = block.items.map(([name, value]) =>
    h("div", {}, h("dt", { dir: "auto" }, name), h("dd", { dir: "auto" }, value)),
  );
  return h("dl", { class: "facts" }, items);
}

/** @param {BarsBlock} block */
function renderBars(block) {
  const rows = block.items.map(([name, share]) => bar(name, share));
  if (block.rest > 0) rows.push(bar(block.rest_name, block.rest, "is-rest"));
  return h("table", { class: "bars" }, h("caption", { class: "unseen" }, block.what || "Shares"), h("tbody", {}, rows));
}

/**
 * @param {string} name
 * @param {number} share
 * @param {string} [kind]
 */
function bar(name, share, kind = "") {
  const length = Math.max(0, Math.min(1, share));
  return h(
    "tr",
    { class: kind },
    h("th", { scope: "row", dir: "auto" }, name.trim() === "" ? h("code", {}, JSON.stringify(name)) : name),
    h("td", { class: "bar", "aria-hidden": "true" }, h("div", { "--share": length })),
    h("td", { class: "share" }, percent(share)),
  );
}

/** @param {ChoicesBlock} block */
function renderChoices(block) {
  const labels = block.labels ?? [];
  const options = block.options.map((option, i) =>
    h(
      "li",
      {},
      labels.length > 0 && h("span", { class: "option-label" }, labels[i]),
      option.trim() === ""
        ? h("span", { class: "option-waits" }, "…")
        : h("mark", { class: "option", dir: "auto" }, option),
    ),
  );
  return h(
    "div",
    { class: labels.length > 0 ? "choices is-labelled" : "choices" },
    h("p", { class: "prompt", dir: "auto" }, block.prompt),
    h("ol", { start: block.first_number, "--first": block.first_number - 1 }, options),
  );
}

/** @param {ProgressBlock} block */
function renderProgress(block) {
  const { what, num_done: done, num_total: total } = block;
  const count =
    total === null
      ? done === 0
        ? ""
        : done.toLocaleString("en")
      : `${done.toLocaleString("en")} of ${total.toLocaleString("en")}`;
  return h(
    "div",
    { class: "progress" },
    h("p", { class: "quiet" }, h("span", { dir: "auto" }, what), " ", count),
    h("progress", { "aria-label": what, max: total ?? null, value: total === null ? null : done }),
  );
}
