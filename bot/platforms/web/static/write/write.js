/**
 * The view for a text: TAB shows how the model would go on, in grey at the caret and as a list.
 *
 * @import {Session} from "../state/session.js"
 * @import {Store} from "../state/store.js"
 */
import { download } from "../cards/acting.js";
import { insertText } from "../composer/inserting.js";
import { h, onAction } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";
import { alarm, speak } from "../dom/speaking.js";
import { keep, readKept } from "../state/kept.js";
import { sentenceOf } from "../state/session.js";
import { Continuations } from "./continuations.js";

const KEPT = "write";
const KEEP_AFTER_MS = 400;
const HELP = "Tab shows how the text may go on. Esc, then Tab, leaves the text.";
const CHOOSING = "Tab: more and longer · digit or ↓ and Enter: choose · →: take the grey text · Esc: close";

export class Write {
  #at = -1;
  /** Why the last question failed. */
  #problem = "";
  /** For which text and caret the view was drawn last. */
  #drawnText = "";
  #drawnCaret = -1;
  /** After Esc the next Tab moves the focus, as everywhere. */
  #isLeaving = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;

  /**
   * @param {Store} store
   * @param {Session} session
   * @param {HTMLElement} menu The button that opens the servers on a narrow window.
   */
  constructor(store, session, menu) {
    this.store = store;
    this.found = new Continuations(session);
    this.area = h("textarea", {
      class: "write-text",
      dir: "auto",
      spellcheck: "false",
      placeholder: "Begin a text, then press Tab.",
      "aria-label": "Your text",
      "aria-autocomplete": "both",
      "aria-haspopup": "listbox",
      "aria-controls": "write-offers",
      "aria-describedby": "write-hint",
    });
    this.mirror = h("div", { class: "write-mirror", dir: "auto", "aria-hidden": "true" });
    this.offers = h("div", {
      class: "write-offers",
      id: "write-offers",
      role: "listbox",
      "aria-label": "Continuations",
      hidden: true,
    });
    this.hint = h("p", { class: "write-hint quiet", id: "write-hint" }, HELP);
    this.more = h("button", { type: "button", class: "button", "data-do": "more", hidden: true }, "More and longer");
    this.element = h(
      "section",
      { class: "view", "aria-label": "Write" },
      h(
        "header",
        { class: "head" },
        menu,
        h("h1", { class: "head-title" }, "Write"),
        h("button", { type: "button", class: "button", "data-do": "continue" }, iconOf("write"), "Continue"),
        h(
          "button",
          {
            type: "button",
            class: "icon-button",
            "data-do": "save",
            "aria-label": "Save as a file",
            "data-note": "Save as a file",
          },
          iconOf("download"),
        ),
      ),
      h(
        "div",
        { class: "write-body" },
        h("div", { class: "write-page" }, this.mirror, this.area),
        h("div", { class: "write-below" }, this.hint, this.offers, this.more),
      ),
    );
    this.area.value = readKept(KEPT);
    this.area.addEventListener("keydown", (event) => this.#pressed(event));
    this.area.addEventListener("input", () => this.#typed());
    this.area.addEventListener("focus", () => {
      this.#isLeaving = false;
    });
    document.addEventListener("selectionchange", () => {
      if (document.activeElement !== this.area) return;
      const { value, selectionStart } = this.area;
      if (value !== this.#drawnText || selectionStart !== this.#drawnCaret) this.#follow();
    });
    // Choosing with the mouse leaves the caret where it is.
    this.offers.addEventListener("pointerdown", (event) => event.preventDefault());
    window.addEventListener("pagehide", () => keep(KEPT, this.area.value));
    onAction(this.element, {
      offer: (element) => this.#take(this.found.texts[Number(element.dataset.at)] ?? ""),
      more: () => void this.#ask(),
      continue: () => void this.#ask(),
      save: () => download("text.txt", this.area.value),
    });
    this.#draw();
  }

  /** Return the text that is continued: up to the caret. */
  get #before() {
    return this.area.value.slice(0, this.area.selectionStart);
  }

  async #ask() {
    this.area.focus();
    const text = this.#before;
    if (text.trim() === "") {
      this.hint.textContent = "Begin a text first.";
      return;
    }
    this.#problem = "";
    try {
      const before = this.found.texts.length;
      await this.found.ask(text, () => this.#draw());
      const count = this.found.texts.length - before;
      if (count > 0) speak(`${count} continuations. First: ${this.found.texts[before] ?? ""}`);
    } catch (error) {
      this.#problem = sentenceOf(error);
      alarm(this.#problem);
      this.#draw();
    }
  }

  #typed() {
    this.#isLeaving = false;
    this.#problem = "";
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => keep(KEPT, this.area.value), KEEP_AFTER_MS);
    this.#follow();
  }

  /** Keep what still fits the text and the caret, and show it. */
  #follow() {
    if (this.found.isOpen) {
      if (this.area.selectionStart === this.area.selectionEnd) this.found.typed(this.#before);
      else this.found.close();
    }
    this.#draw();
  }

  #draw() {
    const { area, found } = this;
    const { texts } = found;
    if (this.#at >= texts.length) this.#at = -1;
    const value = area.value;
    const caret = area.selectionStart;
    this.#drawnText = value;
    this.#drawnCaret = caret;
    // In the middle of a line there is no room for it.
    const isAtLineEnd = caret === value.length || value[caret] === "\n";
    const ghost = isAtLineEnd ? (texts[Math.max(0, this.#at)] ?? "") : "";
    this.mirror.replaceChildren(value.slice(0, caret), h("span", { class: "ghost" }, ghost), `${value.slice(caret)}\n`);
    this.offers.hidden = texts.length === 0;
    this.offers.replaceChildren(
      ...texts.map((text, i) =>
        h(
          "div",
          {
            class: "write-offer",
            role: "option",
            id: `write-offer-${i}`,
            "data-do": "offer",
            "data-at": i,
            "aria-selected": String(i === this.#at),
          },
          h("span", { class: "number", "aria-hidden": "true" }, i < 9 ? i + 1 : ""),
          h("span", { dir: "auto" }, text.trimStart()),
        ),
      ),
    );
    this.more.hidden = texts.length === 0;
    if (this.#at === -1) area.removeAttribute("aria-activedescendant");
    else area.setAttribute("aria-activedescendant", `write-offer-${this.#at}`);
    this.hint.textContent = this.#problem || (found.isAsking ? "Writing …" : texts.length > 0 ? CHOOSING : HELP);
    this.hint.classList.toggle("is-problem", this.#problem !== "");
  }

  /** @param {string} text */
  #take(text) {
    this.found.close();
    this.#at = -1;
    insertText(this.area, text);
    this.#draw();
  }

  #close() {
    this.found.close();
    this.#at = -1;
    this.#draw();
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Tab" && !event.shiftKey && !this.#isLeaving && this.#before.trim() !== "") void this.#ask();
    else if (event.key === "Escape" && this.found.isOpen) this.#close();
    else if (event.key === "Escape") this.#isLeaving = true;
    else if (!this.#pressedAtOffers(event)) return;
    event.preventDefault();
  }

  /** @param {KeyboardEvent} event */
  #pressedAtOffers(event) {
    const { texts } = this.found;
    const { area } = this;
    if (texts.length === 0 || event.shiftKey) return false;
    const digit = /^[1-9]$/.test(event.key) ? texts[Number(event.key) - 1] : undefined;
    const isAtEnd = area.selectionEnd === area.value.length;
    if (digit !== undefined) this.#take(digit);
    else if (event.key === "ArrowDown") this.#move(1);
    else if (event.key === "ArrowUp" && this.#at >= 0) this.#move(-1);
    else if (event.key === "Enter" && this.#at >= 0) this.#take(texts[this.#at] ?? "");
    else if (event.key === "ArrowRight" && isAtEnd) this.#take(texts[Math.max(0, this.#at)] ?? "");
    else return false;
    return true;
  }

  /** @param {1 | -1} step */
  #move(step) {
    this.#at = Math.min(this.found.texts.length - 1, this.#at + step);
    this.#draw();
    document.getElementById(`write-offer-${this.#at}`)?.scrollIntoView({ block: "nearest" });
  }
}
