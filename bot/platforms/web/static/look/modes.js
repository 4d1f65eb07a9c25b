/**
 * The three ways to look: at one text, at two, and at what may follow. Each makes a command line and draws its answer.
 *
 * @import {Measured} from "./measuring.js"
 */
import { renderBlock } from "../cards/blocks.js";
import { h } from "../dom/elements.js";
import { percent } from "../dom/numbers.js";
import { bitsChart, curve, ranksChart } from "./charts.js";
import { bitsOf, TokenMap } from "./tokens.js";

/**
 * @typedef {object} Mode
 * @property {string} name
 * @property {string} label
 * @property {string} command The command that gives the same on every platform.
 * @property {HTMLElement} inputs
 * @property {() => string} text What the command is given, "" for nothing yet.
 * @property {() => string} options
 * @property {(measured: Measured) => (HTMLElement | null)[]} draw
 */

/**
 * @param {string} label
 * @param {string} name
 * @param {string} placeholder
 * @param {number} rows
 */
function textArea(label, name, placeholder, rows) {
  const area = h("textarea", {
    class: "look-text",
    dir: "auto",
    rows,
    placeholder,
    spellcheck: "false",
    id: `look-${name}`,
  });
  return { area, element: h("div", { class: "look-field" }, h("label", { for: area.id }, label), area) };
}

/** @returns {Mode} */
export function oneText() {
  const { area, element } = textArea("Text", "one", "Can it does what?", 4);
  const map = new TokenMap();
  /** @type {import("./tokens.js").Colours} */
  let colours = "bits";
  /** @type {Measured | null} */
  let last = null;
  const draw = () => last !== null && map.show(last.data.input, last.data.tokens, colours);
  const choice = choiceOf("Colour by", { bits: "bits", ranks: "rank" }, (value) => {
    colours = value === "ranks" ? "ranks" : "bits";
    draw();
  });
  return {
    name: "one",
    label: "A text",
    command: "perplexity",
    inputs: element,
    text: () => (area.value.trim() === "" ? "" : area.value),
    options: () => "",
    draw: (measured) => {
      last = measured;
      draw();
      const scored = measured.data.tokens.filter((/** @type {any} */ one) => one.logprob !== null);
      const bits = scored.map((/** @type {any} */ one) => bitsOf(one) ?? 0);
      const blocks = measured.card.blocks.filter((one) => one.type !== "tinted").map(renderBlock);
      return [
        blocks[0] ?? null,
        blocks[1] ?? null,
        choice,
        map.list,
        map.detail,
        curve(bits),
        h(
          "div",
          { class: "look-charts" },
          bitsChart(bits),
          ranksChart(scored.map((/** @type {any} */ one) => one.rank ?? 1)),
        ),
        ...blocks.slice(2),
      ];
    },
  };
}

/** @returns {Mode} */
export function twoTexts() {
  const first = textArea("Text A", "a", "Can it do that?", 2);
  const second = textArea("Text B", "b", "Can it does what?", 2);
  const escaped = (/** @type {string} */ text) => text.trim().replaceAll("|", "\\|");
  return {
    name: "two",
    label: "Two texts",
    command: "compare",
    inputs: h("div", { class: "look-pair" }, first.element, second.element),
    text: () => {
      const texts = [first.area.value, second.area.value].map(escaped);
      return texts.every((one) => one !== "") ? texts.join(" | ") : "";
    },
    options: () => "",
    draw: (measured) => measured.card.blocks.map(renderBlock),
  };
}

/** Name, range and step of each slider, and the value at which it cuts nothing. */
const SLIDERS = /** @type {const} */ ([
  ["temperature", 0, 2, 0.05, 1],
  ["top_k", 0, 50, 1, 0],
  ["top_p", 0.05, 1, 0.01, 1],
  ["min_p", 0, 1, 0.01, 0],
  ["repetition_penalty", 0.8, 2, 0.05, 1],
]);

/** @returns {Mode} */
export function nextWords() {
  const { area, element } = textArea("Beginning", "next", "The capital of France is", 2);
  /** @type {Map<string, HTMLInputElement>} */
  const inputs = new Map();
  const sliders = SLIDERS.map(([name, min, max, step, off]) => {
    const input = h("input", { type: "range", min, max, step, value: off, id: `look-${name}` });
    const shown = h("output", { for: input.id }, String(off));
    input.addEventListener("input", () => {
      shown.textContent = input.value;
    });
    inputs.set(name, input);
    return h("div", { class: "slider" }, h("label", { for: input.id }, name), input, shown);
  });
  return {
    name: "next",
    label: "Next words",
    command: "next",
    inputs: h(
      "div",
      {},
      element,
      h("div", { class: "sliders", role: "group", "aria-label": "Sampling options" }, sliders),
    ),
    text: () => (area.value.trim() === "" ? "" : area.value),
    options: () =>
      SLIDERS.flatMap(([name, , , , off]) => {
        const value = inputs.get(name)?.value ?? String(off);
        return Number(value) === off ? [] : [`--${name} ${value}`];
      }).join(" "),
    draw: (measured) => {
      const words = /** @type {{text: string, probability: number, drawn?: number}[]} */ (measured.data.words);
      if (words.every((one) => one.drawn === undefined)) return measured.card.blocks.map(renderBlock);
      const [verdict] = measured.card.blocks;
      return [verdict === undefined ? null : renderBlock(verdict), drawnBars(words)];
    },
  };
}

/**
 * Draw how likely each token is by itself and with the options; what they cut is grey.
 *
 * @param {{text: string, probability: number, drawn?: number}[]} words
 */
function drawnBars(words) {
  const rows = words.map((one) => {
    const drawn = one.drawn ?? 0;
    return h(
      "tr",
      { class: drawn === 0 ? "is-cut" : "" },
      h("th", { scope: "row", dir: "auto" }, one.text.trim() === "" ? JSON.stringify(one.text) : one.text.trim()),
      h(
        "td",
        { class: "bar", "aria-hidden": "true" },
        h("div", { "--share": drawn }),
        h("i", { "--share": one.probability }),
      ),
      h("td", { class: "share" }, drawn === 0 ? "cut" : percent(drawn)),
      h("td", { class: "share quiet" }, percent(one.probability)),
    );
  });
  const head = h(
    "tr",
    {},
    h("th", { scope: "col" }, "token"),
    h("td", {}),
    h("th", { scope: "col" }, "drawn"),
    h("th", { scope: "col" }, "model"),
  );
  return h(
    "table",
    { class: "bars look-drawn" },
    h(
      "caption",
      { class: "unseen" },
      "Tokens that may follow: how likely they are drawn, and how likely the model finds them",
    ),
    h("thead", {}, head),
    h("tbody", {}, rows),
  );
}

/**
 * @param {string} label
 * @param {Record<string, string>} options
 * @param {(value: string) => void} choose
 */
function choiceOf(label, options, choose) {
  const group = h("fieldset", { class: "choice" }, h("legend", {}, label));
  for (const [value, name] of Object.entries(options)) {
    const isFirst = group.querySelector("input") === null;
    const input = h("input", { type: "radio", name: `look-${label}`, value, checked: isFirst });
    input.addEventListener("change", () => choose(value));
    group.append(h("label", {}, input, ` ${name}`));
  }
  return group;
}
