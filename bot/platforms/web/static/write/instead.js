/**
 * "Instead of this word": how likely the word at the caret was, and what the model expected there, as buttons.
 *
 * @import {Session} from "../state/session.js"
 * @import {Alternative} from "../wire/types.js"
 */
import { h, onAction } from "../dom/elements.js";
import { percent } from "../dom/numbers.js";
import { makeStop, roving } from "../dom/roving.js";
import { channelOf } from "../look/measuring.js";
import { shown } from "../look/tokens.js";
import { sentenceOf } from "../state/session.js";
import { Disconnected } from "../wire/socket.js";
import { wordAt } from "./words.js";

const AFTER_MS = 300;
const OFF = "Turn on Tint and put the caret into a word: here is what the model expected in its place.";
const NO_WORD = "Put the caret into a word.";
const HINT = "Alt+Enter goes from the text to these words. A word that you choose begins a new branch.";

export class Instead {
  #number = 0;
  #asked = "";
  /** @type {Alternative[]} */
  #words = [];
  #before = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;

  /**
   * @param {Session} session
   * @param {(chosen: Alternative, before: string) => void} choose Called with a word and the text that it comes behind.
   * @param {() => void} leave Called to go back to the text.
   */
  constructor(session, choose, leave) {
    this.session = session;
    this.title = h("h3", { id: "instead-title" }, "Instead of this word");
    this.about = h("p", { class: "quiet", "aria-live": "polite" }, OFF);
    this.list = h("ul", { class: "instead-words", "aria-labelledby": "instead-title" });
    this.hint = h("p", { class: "quiet tool-help", hidden: true }, HINT);
    this.element = h(
      "section",
      { class: "tool", "aria-labelledby": "instead-title" },
      this.title,
      this.about,
      this.list,
      this.hint,
    );
    roving(this.list, "button");
    onAction(this.list, {
      instead: (element) => {
        const word = this.#words[Number(element.dataset.at)];
        if (word !== undefined) choose(word, this.#before);
      },
    });
    this.list.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      leave();
    });
  }

  /** Move the focus to the likeliest word; return whether there is one. */
  focus() {
    const first = this.list.querySelector("button");
    first?.focus();
    return first !== null;
  }

  /**
   * Show no word, and why.
   *
   * @param {string} [why]
   */
  rest(why = OFF) {
    if (this.#asked === "" && this.about.textContent === why) return;
    this.#forget(why);
  }

  /**
   * Show what was expected in place of the word at the caret, after a pause.
   *
   * @param {string} text
   * @param {number} caret
   */
  show(text, caret) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const place = wordAt(text, caret);
      const asked = JSON.stringify(place);
      if (place === null) this.rest(NO_WORD);
      else if (asked !== this.#asked) void this.#ask(place, asked);
    }, AFTER_MS);
  }

  /** @param {string} sentence */
  #forget(sentence) {
    clearTimeout(this.#timer);
    this.#number++;
    this.#asked = "";
    this.#draw("Instead of this word", sentence, []);
  }

  /**
   * @param {{before: string, word: string}} place
   * @param {string} asked
   */
  async #ask(place, asked) {
    this.#asked = asked;
    const number = ++this.#number;
    this.element.setAttribute("aria-busy", "true");
    try {
      const request = { channel: channelOf(this.session.store), ...place };
      const { answer } = this.session.connection.follow("instead", request, (step) => {
        if (number === this.#number) this.#draw(`Instead of “${place.word}”`, step.sentence, []);
      });
      const { probability, words } = await answer;
      if (number !== this.#number) return;
      const about =
        probability === null
          ? "It is not among the words that the model expected most:"
          : `The model gave it ${percent(probability)}. It expected:`;
      this.#before = place.before;
      this.#draw(`Instead of “${place.word}”`, about, words);
    } catch (error) {
      if (number !== this.#number) return;
      this.#asked = "";
      if (!(error instanceof Disconnected)) this.#draw(`Instead of “${place.word}”`, sentenceOf(error), []);
    } finally {
      if (number === this.#number) this.element.removeAttribute("aria-busy");
    }
  }

  /**
   * @param {string} title
   * @param {string} about
   * @param {Alternative[]} words
   */
  #draw(title, about, words) {
    this.#words = words;
    this.title.textContent = title;
    this.about.textContent = about;
    this.hint.hidden = words.length === 0;
    const most = Math.max(...words.map((one) => one.probability), Number.MIN_VALUE);
    this.list.replaceChildren(
      ...words.map((one, i) =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", class: "instead-word", "data-do": "instead", "data-at": i },
            h("span", { class: "instead-bar", "aria-hidden": "true", "--share": one.probability / most }),
            h("bdi", { class: "one-line" }, shown(one.text)),
            h("span", { class: "share" }, percent(one.probability)),
          ),
        ),
      ),
    );
    makeStop(this.list, "button", null);
  }
}
