/**
 * The fields of a template: what it is for, its kind, what the model is told, how it is asked, and the labels.
 *
 * @import {Kind, OpenedTemplate, TemplateState} from "../wire/types.js"
 */
import { h } from "../dom/elements.js";

/** @type {Record<Kind, string>} */
const KINDS = {
  classify: "Chooses one of your labels",
  complete: "Writes a text",
  chat: "Talks in a channel",
};
/** @type {Record<string, string>} */
const PRESETS = {
  careful: "careful: likely words",
  normal: "normal",
  wild: "wild: surprising words",
  greedy: "greedy: always the likeliest word",
  beam: "beam: compares whole answers",
  own: "only the options below",
};

/** What a preset decides: a line with one of these would win over the preset that is chosen. */
const DECIDED = /^\s*(temperature|top_k|top_p|min_p|typical_p|eta_cutoff|epsilon_cutoff|num_beams|n)\b/;

let number = 0;

export class Fields {
  /**
   * @param {(changes: Partial<TemplateState>) => void} changed
   * @param {() => void} takeLabels Makes labels of what the rows answer.
   */
  constructor(changed, takeLabels) {
    this.changed = changed;
    this.description = textField("input", "description");
    this.kind = h("select", { class: "field" });
    this.instruction = textField("textarea", "instruction");
    this.query = textField("textarea", "query");
    this.labels = textField("textarea", "labels");
    this.preset = h("select", { class: "field" });
    this.options = textField("textarea", "options");
    this.fromRows = h("button", { type: "button", class: "link" }, "Take them from the rows");
    this.labelled = {
      description: labelled("What it is for", this.description, "One line, shown in the list."),
      kind: labelled("What it does", this.kind, ""),
      labels: labelled("Labels", this.labels, "The possible answers, one on each line.", this.fromRows),
      instruction: labelled("What the model reads first", this.instruction, "Above the examples. It may be empty."),
      query: labelled(
        "How it is asked about a text",
        this.query,
        "$input stands for the text. Each example is written in the same form.",
      ),
      preset: labelled("How it chooses its words", this.preset, ""),
      options: labelled(
        "Options",
        this.options,
        "One on each line: max_new_tokens 40 for the longest answer, temperature 0.5 for likelier words.",
      ),
    };
    this.element = h("div", { class: "bench-fields" }, Object.values(this.labelled));
    this.#listen();
    this.fromRows.addEventListener("click", takeLabels);
  }

  #listen() {
    const texts = /** @type {const} */ (["description", "instruction", "query", "options"]);
    for (const name of texts) {
      this[name].addEventListener("input", () => this.changed({ [name]: this[name].value }));
    }
    this.labels.addEventListener("input", () => this.changed({ labels: linesOf(this.labels.value) }));
    this.kind.addEventListener("change", () => {
      const kind = /** @type {Kind} */ (this.kind.value);
      this.changed(kind !== "chat" && this.query.value.trim() === "" ? { kind, query: "$input" } : { kind });
    });
    this.preset.addEventListener("change", () => {
      const kept = this.options.value.split("\n").filter((line) => !DECIDED.test(line));
      setText(this.options, kept.join("\n"));
      this.changed({ preset: this.preset.value, options: this.options.value });
    });
  }

  /**
   * Show a state; a field that says the same already is left alone.
   *
   * @param {TemplateState} state
   * @param {OpenedTemplate} opened
   */
  show(state, opened) {
    const isReadOnly = !opened.is_moderator;
    for (const control of [this.description, this.instruction, this.query, this.labels, this.options])
      control.readOnly = isReadOnly;
    this.kind.disabled = isReadOnly || opened.kinds.length < 2;
    this.preset.disabled = isReadOnly;
    this.fromRows.hidden = isReadOnly;
    setText(this.description, state.description);
    setText(this.instruction, state.instruction);
    setText(this.query, state.query);
    setText(this.options, state.options);
    if (linesOf(this.labels.value).join("\n") !== state.labels.join("\n")) this.labels.value = state.labels.join("\n");
    const kinds = opened.kinds.includes(state.kind) ? opened.kinds : [...opened.kinds, state.kind];
    setOptions(this.kind, kinds, KINDS, state.kind);
    const presets = opened.presets.filter((one) => one !== "own" || state.preset === "own");
    setOptions(this.preset, presets, PRESETS, state.preset);
    this.labelled.labels.hidden = state.kind !== "classify";
    this.labelled.query.hidden = state.kind === "chat";
    this.labelled.preset.hidden = state.kind === "classify";
    this.labelled.options.hidden = state.kind === "classify";
  }
}

/**
 * @template {"input" | "textarea"} Tag
 * @param {Tag} tag
 * @param {string} name
 */
function textField(tag, name) {
  const attributes = { class: `field bench-${name}`, dir: "auto", autocomplete: "off", name };
  return h(tag, tag === "input" ? { ...attributes, type: "text" } : { ...attributes, rows: 2 });
}

/**
 * @param {string} label
 * @param {HTMLElement} control
 * @param {string} help
 * @param {HTMLElement} [beside]
 */
function labelled(label, control, help, beside) {
  control.id = `bench-field-${++number}`;
  if (help !== "") control.setAttribute("aria-describedby", `${control.id}-help`);
  return h(
    "div",
    { class: "labelled" },
    h("label", { for: control.id }, label),
    control,
    help !== "" && h("p", { class: "help", id: `${control.id}-help` }, help, beside),
  );
}

/**
 * @param {HTMLInputElement | HTMLTextAreaElement} control
 * @param {string} value
 */
function setText(control, value) {
  if (control.value !== value) control.value = value;
}

/**
 * @param {HTMLSelectElement} select
 * @param {string[]} values
 * @param {Record<string, string>} words
 * @param {string} chosen
 */
function setOptions(select, values, words, chosen) {
  const known = [...select.options].map((one) => one.value);
  if (known.join() !== values.join()) {
    select.replaceChildren(...values.map((value) => h("option", { value }, words[value] ?? value)));
  }
  select.value = chosen;
}

/** @param {string} text */
export function linesOf(text) {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}
