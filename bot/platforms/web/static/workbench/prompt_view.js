/**
 * The prompt of what is typed, as the model reads it, with what each part costs; and what the model answers to a text.
 *
 * @import {Preview, PromptPart} from "../wire/types.js"
 * @import {Desk} from "./desk.js"
 */
import { renderBlock } from "../cards/blocks.js";
import { h } from "../dom/elements.js";
import { alarm } from "../dom/speaking.js";
import { sentenceOf } from "../state/session.js";

const AFTER_MS = 300;
/** @type {Record<string, string>} */
const NAMES = {
  instruction: "What it reads first",
  example: "An example",
  question: "The text",
  conversation: "The conversation",
};

export class PromptView {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;
  #isAsking = false;
  #isWanted = false;

  /** @param {Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.input = h("textarea", { class: "field", id: "bench-try", rows: 2, dir: "auto" });
    this.ask = h("button", { type: "button", class: "button" }, "Ask the model");
    this.answer = h("div", { class: "bench-answer", role: "status" });
    this.cost = h("p", { class: "bench-cost" });
    this.parts = h("div", { class: "bench-prompt", role: "group", "aria-label": "The prompt" });
    this.element = h(
      "section",
      { class: "bench-preview", "aria-label": "Prompt" },
      h("h2", {}, "What the model reads"),
      h("div", { class: "labelled" }, h("label", { for: "bench-try" }, "Try it on a text"), this.input),
      this.ask,
      this.answer,
      this.cost,
      this.parts,
    );
    this.input.addEventListener("input", () => this.update());
    this.ask.addEventListener("click", () => void this.#try());
  }

  /** Another template is shown. */
  begin() {
    this.input.value = this.desk.state?.tests[0]?.[0] ?? "";
    this.answer.replaceChildren();
    this.parts.replaceChildren();
    this.cost.textContent = "";
    this.ask.hidden = this.desk.opened?.is_moderator !== true || this.desk.state?.kind === "chat";
    this.update();
  }

  /** Show the prompt of what is typed now, soon. */
  update() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#show(), AFTER_MS);
  }

  async #show() {
    const { state, name } = this.desk;
    if (state === null) return;
    this.#isWanted = this.#isAsking;
    if (this.#isAsking) return;
    this.#isAsking = true;
    this.ask.hidden = this.desk.opened?.is_moderator !== true || state.kind === "chat";
    try {
      /** @type {Preview} */
      const preview = await this.desk.ask("preview", { state, input: this.input.value });
      if (name === this.desk.name) this.#draw(preview);
    } catch (error) {
      if (name === this.desk.name) {
        this.cost.replaceChildren(h("span", { class: "quiet", dir: "auto" }, sentenceOf(error)));
        this.parts.classList.add("is-old");
      }
    } finally {
      this.#isAsking = false;
    }
    if (this.#isWanted) await this.#show();
  }

  /** @param {Preview} preview */
  #draw(preview) {
    this.parts.classList.remove("is-old");
    const count = (/** @type {number} */ num) => num.toLocaleString("en");
    this.cost.replaceChildren(
      h("strong", {}, `${count(preview.num_tokens)} tokens`),
      h(
        "span",
        { class: "quiet" },
        ` of ${count(preview.context_length)}; a message may have ${count(preview.num_left_for_input)}.`,
      ),
    );
    const kept = `${count(preview.num_kept)} more examples are not in the prompt: those most like a text count in its answer.`;
    const answers = preview.answers.map((one) => one.trim()).join(", ");
    this.parts.replaceChildren(
      ...preview.parts.map(drawPart),
      ...(preview.num_kept === 0 ? [] : [h("p", { class: "quiet" }, kept)]),
      ...(answers === ""
        ? []
        : [h("p", { class: "quiet", dir: "auto" }, `Then the model says how likely each label is: ${answers}.`)]),
    );
  }

  /**
   * Ask the model about this text.
   *
   * @param {string} text
   */
  try(text) {
    this.input.value = text;
    this.update();
    return this.#try();
  }

  async #try() {
    const { state } = this.desk;
    if (state === null) return;
    if (this.input.value.trim() === "") {
      this.input.focus();
      this.answer.replaceChildren(h("p", { class: "quiet" }, "Type a text above."));
      return;
    }
    this.ask.disabled = true;
    this.answer.replaceChildren(h("p", { class: "quiet" }, "The model reads …"));
    try {
      const { text, probabilities } = await this.desk.ask("try", { state, input: this.input.value });
      const what = "What the model finds likely";
      this.answer.replaceChildren(
        h("p", { class: "model-text", dir: "auto" }, text),
        ...(probabilities.length === 0
          ? []
          : [renderBlock({ type: "bars", items: probabilities, rest: 0, rest_name: "", what })]),
      );
    } catch (error) {
      this.answer.replaceChildren(h("p", { class: "problem", dir: "auto" }, sentenceOf(error)));
      alarm(sentenceOf(error));
    } finally {
      this.ask.disabled = false;
    }
  }
}

/** @param {PromptPart} part */
function drawPart(part) {
  const name = NAMES[part.what] ?? part.what;
  return h(
    "div",
    { class: `prompt-part is-${part.what}` },
    h("p", { class: "prompt-name quiet" }, name, h("span", {}, `${part.num_tokens.toLocaleString("en")} tokens`)),
    h("pre", { class: "prompt-text", dir: "auto" }, part.text),
  );
}
