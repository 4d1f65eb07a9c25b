/**
 * "Show me all": the same beginning, written in several ways side by side; one of them can be taken.
 *
 * @import {Session} from "../state/session.js"
 * @import {Store} from "../state/store.js"
 * @import {Card, Strategy} from "../wire/types.js"
 */
import { h, onAction } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";
import { alarm, speak } from "../dom/speaking.js";
import { channelOf } from "../look/measuring.js";
import { sentenceOf } from "../state/session.js";

export class Strategies {
  /** @type {Strategy[]} */
  #found = [];
  #isClosed = false;
  #returnsTo = document.activeElement;

  /**
   * @param {Session} session
   * @param {(found: Strategy) => void} take
   * @param {() => void} closed
   */
  constructor(session, take, closed) {
    this.session = session;
    this.closed = closed;
    this.state = h("p", { class: "quiet strategies-state", role: "status" }, "Writing …");
    this.columns = h("div", { class: "strategies", "aria-busy": "true" });
    this.element = h(
      "dialog",
      { class: "dialog is-wide", "aria-labelledby": "strategies-title" },
      h(
        "header",
        { class: "strategies-head" },
        h("h2", { id: "strategies-title", class: "head-title" }, "The same beginning, in several ways"),
        h(
          "button",
          { type: "button", class: "icon-button", "data-do": "close", "aria-label": "Close", "data-note": "Close" },
          iconOf("close"),
        ),
      ),
      this.state,
      this.columns,
    );
    onAction(this.element, {
      close: () => this.close(),
      take: (element) => {
        const found = this.#found[Number(element.dataset.at)];
        if (found === undefined) return;
        this.close();
        take(found);
      },
    });
    this.element.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.close();
    });
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") event.stopPropagation();
    });
  }

  /**
   * @param {Store} store
   * @param {string} text
   */
  async show(store, text) {
    document.body.append(this.element);
    this.element.showModal();
    const request = { channel: channelOf(store), thread: "", line: `strategies -- ${text}` };
    try {
      const { answer } = this.session.connection.follow("look", request, (step) => this.#hear(step));
      const found = await answer;
      if (this.#isClosed) return;
      this.#draw(found.data?.strategies ?? []);
      this.state.textContent = this.#found.length > 0 ? "" : "The model wrote nothing.";
      speak(`Written in ${this.#found.length} ways.`);
    } catch (error) {
      if (this.#isClosed) return;
      this.state.textContent = sentenceOf(error);
      alarm(sentenceOf(error));
    } finally {
      this.columns.setAttribute("aria-busy", "false");
      this.state.hidden = this.state.textContent === "";
    }
  }

  /** @param {{op: string, sentence: string, card: Card}} step */
  #hear(step) {
    if (this.#isClosed) return;
    this.state.textContent = step.op === "loading" ? step.sentence : "Writing …";
    if (step.op !== "loading") this.#draw(written(step.card));
  }

  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.element.close();
    this.element.remove();
    if (this.#returnsTo instanceof HTMLElement && this.#returnsTo.isConnected) this.#returnsTo.focus();
    this.closed();
  }

  /** @param {Strategy[]} strategies */
  #draw(strategies) {
    if (this.#isClosed) return;
    if (strategies.length !== this.#found.length) this.columns.replaceChildren(...strategies.map(columnOf));
    this.#found = strategies;
    for (const [i, one] of strategies.entries()) {
      const column = this.columns.children[i];
      write(column?.querySelector(".strategy-about"), one.sentence);
      write(column?.querySelector(".strategy-text"), one.text.trimStart());
      column
        ?.querySelector("button")
        ?.setAttribute("aria-disabled", String(one.text === "" || one.finish_reason === null));
    }
  }
}

/**
 * @param {Element | null | undefined} element
 * @param {string} text
 */
function write(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

/**
 * Return what a card of the answer so far has of each strategy.
 *
 * @param {Card} card
 * @returns {Strategy[]}
 */
function written(card) {
  const choices = card.blocks.find((one) => one.type === "choices");
  const labels = choices?.labels ?? [];
  return labels.map((name, i) => ({
    name,
    sentence: "",
    options: {},
    seed: null,
    text: choices?.options[i] ?? "",
    finish_reason: null,
  }));
}

/**
 * @param {Strategy} strategy
 * @param {number} at
 */
function columnOf(strategy, at) {
  const { name } = strategy;
  const id = `strategy-${at}`;
  return h(
    "section",
    { class: "strategy", "aria-labelledby": id },
    h("h3", { id }, name),
    h("p", { class: "quiet strategy-about" }),
    h("p", { class: "strategy-text model-text", dir: "auto" }),
    h(
      "button",
      { type: "button", class: "button", "data-do": "take", "data-at": at, "aria-label": `Take ${name}` },
      "Take",
    ),
  );
}
