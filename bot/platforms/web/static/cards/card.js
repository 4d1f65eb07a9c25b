/**
 * A card as elements: its blocks, buttons, selects and file.
 *
 * @import {Card, CardSelect} from "../wire/types.js"
 */
import { h } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";
import { renderBlock } from "./blocks.js";

/**
 * What happens with a card in this window: the action that is being carried out, and why the last one failed.
 *
 * @typedef {{busy: string, problem: string}} CardNote
 */

/** @type {CardNote} */
export const NO_NOTE = { busy: "", problem: "" };

/**
 * @param {Card} card
 * @param {CardNote} [note]
 * @returns {HTMLElement}
 */
export function renderCard(card, note = NO_NOTE) {
  const blocks =
    card.error !== null ? [h("p", { class: "problem", dir: "auto" }, card.error)] : card.blocks.map(renderBlock);
  const isEmpty = blocks.length === 0 && !card.is_final;
  return h(
    "div",
    { class: card.is_final ? "card" : "card is-growing", "aria-busy": String(!card.is_final) },
    isEmpty && h("p", { class: "waiting quiet" }, h("span", { class: "unseen" }, "Writing …")),
    blocks,
    card.file !== null && renderFile(card.file),
    renderControls(card, note),
    note.problem !== "" && h("p", { class: "problem", dir: "auto" }, note.problem),
  );
}

/** @param {{name: string, text: string}} file */
function renderFile(file) {
  const bytes = new TextEncoder().encode(file.text).length;
  return h(
    "button",
    { type: "button", class: "button file", "data-do": "download" },
    iconOf("download"),
    h("span", {}, h("bdi", {}, file.name), " ", h("span", { class: "quiet" }, sizeOf(bytes))),
  );
}

/** @param {number} bytes */
export function sizeOf(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 999_500 ? `${(bytes / 1000).toPrecision(3)} kB` : `${(bytes / 1e6).toPrecision(3)} MB`;
}

/**
 * @param {Card} card
 * @param {CardNote} note
 */
function renderControls(card, note) {
  const canStop = card.stop_id !== null && !card.is_final;
  if (card.buttons.length === 0 && card.selects.length === 0 && !canStop) return null;
  return h(
    "div",
    { class: "controls" },
    card.selects.map((select, i) => renderSelect(select, i, note)),
    card.buttons.map((button) =>
      h(
        "button",
        {
          type: "button",
          class: `button is-${button.style}`,
          "data-key": `button ${button.action}`,
          "data-do": "click",
          "data-action": button.action,
          "aria-disabled": note.busy === button.action ? "true" : null,
        },
        h("bdi", {}, button.label),
      ),
    ),
    canStop &&
      h("button", { type: "button", class: "button", "data-key": "stop", "data-do": "stop" }, iconOf("stop"), "Stop"),
  );
}

/**
 * @param {CardSelect} select
 * @param {number} at
 * @param {CardNote} note
 */
function renderSelect(select, at, note) {
  const chosen = select.options.find((one) => one.is_chosen);
  return h(
    "button",
    {
      type: "button",
      class: "button select",
      "data-key": `select ${select.action}`,
      "data-do": "select",
      "data-at": at,
      "aria-haspopup": "menu",
      "aria-disabled": note.busy === select.action ? "true" : null,
    },
    h(
      "span",
      { class: "one-line" },
      h("bdi", {}, select.label),
      chosen && h("span", { class: "quiet" }, ": ", h("bdi", {}, chosen.label)),
    ),
    iconOf("down"),
  );
}
