/** How the model writes: a preset or one's own numbers, how long, and the seed. Kept in this window. */
import { h } from "../dom/elements.js";
import { keep, readKept } from "../state/kept.js";

const KEPT = "sampling";
const MAX_SEED = 2 ** 31;

/**
 * An option of the model's sampling: `isDrawn` ones have no effect on greedy decoding and beam search.
 *
 * @typedef {{
 *   name: string, label: string, help: string, min: number, max: number, step: number, normal: number,
 *   isDrawn: boolean,
 * }} Option
 */

/** @type {Option[]} */
const OPTIONS = [
  option("temperature", "Temperature", "0 always takes the likeliest token; higher is more random", 0, 2, 0.05, 0.8),
  option("top_k", "top_k", "Draw from the k likeliest tokens; 0 is off", 0, 200, 1, 50),
  option("top_p", "top_p", "Draw from the likeliest tokens that together have this probability", 0.05, 1, 0.01, 0.95),
  option("min_p", "min_p", "Drop tokens below this share of the likeliest one’s probability; 0 is off", 0, 1, 0.01, 0),
  option("repetition_penalty", "Repetition", "Above 1 avoids tokens that were used before", 0.8, 2, 0.05, 1.1, false),
  option(
    "no_repeat_ngram_size",
    "No repeats of",
    "Never repeat a run of this many tokens; 0 is off",
    0,
    10,
    1,
    0,
    false,
  ),
  option("num_beams", "Beams", "Beam search with this many beams, instead of sampling; 1 is off", 1, 16, 1, 1, false),
  option("length", "Length", "Tokens of the first continuations; each further Tab asks for more", 1, 100, 1, 10, false),
];

/** @type {Record<string, Record<string, number>>} */
const PRESETS = {
  careful: { temperature: 0.5, top_k: 20, top_p: 0.9 },
  normal: {},
  wild: { temperature: 1.2, top_k: 0, top_p: 0.98 },
  greedy: { temperature: 0 },
  beams: { num_beams: 4, repetition_penalty: 1, no_repeat_ngram_size: 2 },
};

const SEED = "The same seed and options write the same text again.";
const NO_SEED = "This model's server keeps no seed: the same one writes another text.";

export class Sampling {
  /** @type {Map<string, {range: HTMLInputElement, number: HTMLInputElement, option: Option}>} */
  #fields = new Map();
  #drawnSeed = newSeed();

  constructor() {
    this.presets = h(
      "fieldset",
      { class: "segments" },
      h("legend", { class: "unseen" }, "Preset"),
      Object.keys(PRESETS).map((name) =>
        h("label", {}, h("input", { type: "radio", name: "sampling-preset", value: name }), h("span", {}, name)),
      ),
    );
    this.seed = h("input", {
      class: "field",
      type: "number",
      min: 0,
      max: MAX_SEED - 1,
      step: 1,
      id: "sampling-seed",
      "aria-describedby": "sampling-seed-help",
    });
    this.isFixed = h("input", { type: "checkbox" });
    this.seedHelp = h("p", { class: "quiet tool-help", id: "sampling-seed-help" }, SEED);
    this.element = h(
      "section",
      { class: "tool", "aria-labelledby": "sampling-title" },
      h("h3", { id: "sampling-title" }, "Sampling"),
      this.presets,
      h(
        "div",
        { class: "tool-sliders" },
        OPTIONS.map((one) => this.#field(one)),
      ),
      h(
        "div",
        { class: "tool-seed" },
        h("label", { for: "sampling-seed" }, "Seed"),
        this.seed,
        h("label", { class: "check" }, this.isFixed, "Fix"),
      ),
      this.seedHelp,
    );
    this.#restore();
    this.presets.addEventListener("change", (event) => {
      if (event.target instanceof HTMLInputElement) this.#choose(event.target.value);
    });
    this.element.addEventListener("change", () => this.#keep());
  }

  /** Return the sampling options by their names. */
  get options() {
    const isSearched = this.#value("num_beams") > 1;
    // Beam search refuses what only drawing needs.
    // What is normal is not asked for, so that a server that lacks it writes all the same.
    const isAsked = (/** @type {Option} */ one) => one.name !== "length" && this.#value(one.name) !== one.normal;
    const sent = OPTIONS.filter((one) => isAsked(one) && !(isSearched && one.isDrawn));
    return Object.fromEntries(sent.map((one) => [one.name, this.#value(one.name)]));
  }

  /** Return how many different texts a round can have. */
  get numTexts() {
    const beams = this.#value("num_beams");
    if (beams > 1) return Math.min(3, beams);
    return this.#value("temperature") === 0 ? 1 : 3;
  }

  get numTokens() {
    return this.#value("length");
  }

  /**
   * Return the seed of a round.
   *
   * @param {number} round Counted from 0.
   */
  seedOf(round) {
    const typed = Math.round(Number(this.seed.value));
    const isFixed = this.isFixed.checked && this.seed.value !== "" && typed >= 0 && typed < MAX_SEED;
    if (!isFixed && round === 0) this.#drawnSeed = newSeed();
    return ((isFixed ? typed : this.#drawnSeed) + round) % MAX_SEED;
  }

  /** @param {number | null} seed That of the last round; null where no seed writes the same text again. */
  showSeed(seed) {
    this.seedHelp.textContent = seed === null ? NO_SEED : SEED;
    if (!this.isFixed.checked) this.seed.value = seed === null ? "" : String(seed);
  }

  /** @param {string} name */
  #value(name) {
    return Number(this.#fields.get(name)?.range.value ?? 0);
  }

  /** @param {Option} shown */
  #field(shown) {
    const { name, label, help, min, max, step, normal } = shown;
    const id = `sampling-${name}`;
    const attributes = { min, max, step, value: normal };
    const range = h("input", { ...attributes, type: "range", id, "aria-describedby": `${id}-help` });
    const number = h("input", {
      ...attributes,
      class: "field",
      type: "number",
      "aria-label": `${label}, as a number`,
      "aria-describedby": `${id}-help`,
    });
    range.addEventListener("input", () => this.#set(name, range.value));
    // A value outside the range goes to its end when the field is left.
    number.addEventListener("input", () => {
      if (number.value !== "" && number.checkValidity()) this.#set(name, number.value);
    });
    number.addEventListener("change", () => this.#set(name, number.value === "" ? range.value : number.value));
    this.#fields.set(name, { range, number, option: shown });
    return h(
      "div",
      { class: "tool-slider", "data-note": help },
      h("label", { for: id }, label),
      range,
      number,
      h("span", { class: "unseen", id: `${id}-help` }, help),
    );
  }

  /**
   * @param {string} name
   * @param {string | number} value
   */
  #set(name, value) {
    const field = this.#fields.get(name);
    if (field === undefined) return;
    field.range.value = String(value);
    // What is being typed stays as it is typed.
    if (document.activeElement !== field.number || Number(field.number.value) !== Number(field.range.value))
      field.number.value = field.range.value;
    this.#show();
  }

  /** @param {string} preset */
  #choose(preset) {
    for (const { name } of OPTIONS) if (name !== "length") this.#set(name, presetValue(preset, name));
  }

  /** Show which preset these numbers are, and which of them have no effect. */
  #show() {
    const isSearched = this.#value("num_beams") > 1 || this.#value("temperature") === 0;
    for (const [name, { range, number, option: one }] of this.#fields) {
      const isIdle = one.isDrawn && isSearched && !(name === "temperature" && this.#value("num_beams") === 1);
      range.disabled = isIdle;
      number.disabled = isIdle;
    }
    const names = OPTIONS.map((one) => one.name).filter((one) => one !== "length");
    for (const input of this.presets.querySelectorAll("input")) {
      input.checked = names.every((name) => this.#value(name) === presetValue(input.value, name));
    }
  }

  #keep() {
    const values = Object.fromEntries(OPTIONS.map((one) => [one.name, this.#value(one.name)]));
    keep(KEPT, JSON.stringify({ ...values, seed: this.isFixed.checked ? this.seed.value : "" }));
  }

  #restore() {
    try {
      const { seed, ...values } = JSON.parse(readKept(KEPT));
      for (const [name, value] of Object.entries(values)) this.#set(name, Number(value));
      this.seed.value = seed;
      this.isFixed.checked = seed !== "";
    } catch {
      // Nothing is kept: what is shown is normal.
    }
    this.#show();
  }
}

/**
 * @param {string} name
 * @param {string} label
 * @param {string} help
 * @param {number} min
 * @param {number} max
 * @param {number} step
 * @param {number} normal
 * @returns {Option}
 */
function option(name, label, help, min, max, step, normal, isDrawn = true) {
  return { name, label, help, min, max, step, normal, isDrawn };
}

/**
 * @param {string} preset
 * @param {string} name
 */
function presetValue(preset, name) {
  return PRESETS[preset]?.[name] ?? OPTIONS.find((one) => one.name === name)?.normal ?? 0;
}

function newSeed() {
  return Math.floor(Math.random() * MAX_SEED);
}
