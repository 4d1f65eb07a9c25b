/**
 * The text itself: a text area over its mirror, the grey continuation at the caret, the tints, notes at tinted words.
 *
 * @import {MeasuredToken} from "../look/measuring.js"
 */
import { insertText } from "../composer/inserting.js";
import { h } from "../dom/elements.js";
import { hideNote, showNote } from "../dom/note.js";
import { aboutToken } from "../look/tokens.js";
import { Mirror } from "./mirror.js";

export class Paper {
  #drawnText = "";
  #drawnCaret = -1;
  /** What is shown in grey. */
  #grey = "";
  #isPointed = false;

  /** @param {() => void} moved Called when the text or the caret is another one. */
  constructor(moved) {
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
    this.mirror = new Mirror();
    this.element = h("div", { class: "write-page" }, this.mirror.element, this.area);
    this.area.addEventListener("input", moved);
    document.addEventListener("selectionchange", () => {
      if (document.activeElement !== this.area) return;
      const { value, selectionStart } = this.area;
      if (value !== this.#drawnText || selectionStart !== this.#drawnCaret) moved();
    });
    this.area.addEventListener("pointermove", (event) => this.#point(event.clientX, event.clientY));
    this.area.addEventListener("pointerleave", hideNote);
  }

  get text() {
    return this.area.value;
  }

  get caret() {
    return this.area.selectionStart;
  }

  /** Return the text that is continued: up to the caret. */
  get before() {
    return this.area.value.slice(0, this.area.selectionStart);
  }

  get isAtEnd() {
    return this.area.selectionStart === this.area.value.length;
  }

  get isSelecting() {
    return this.area.selectionStart !== this.area.selectionEnd;
  }

  /**
   * Replace the text.
   *
   * @param {string} text
   * @param {boolean} keepsCaret Else it is at the end.
   */
  write(text, keepsCaret) {
    const { before } = this;
    this.area.value = text;
    const caret = keepsCaret && text.startsWith(before) ? before.length : text.length;
    this.area.setSelectionRange(caret, caret);
  }

  /** @param {string} text Written at the caret, so that the browser can undo it. */
  insert(text) {
    insertText(this.area, text);
  }

  /**
   * Show the text as it is now, with a continuation in grey.
   *
   * @param {string} continuation
   */
  draw(continuation) {
    const { value, selectionStart } = this.area;
    this.#drawnText = value;
    this.#drawnCaret = selectionStart;
    this.mirror.write(value);
    // In the middle of a line there is no room for it.
    const isAtLineEnd = selectionStart === value.length || value[selectionStart] === "\n";
    this.#grey = isAtLineEnd ? continuation : "";
    this.mirror.showGhost(this.#grey, selectionStart);
  }

  /**
   * Tint what was measured, as far as the text still has it.
   *
   * @param {string} measured
   * @param {MeasuredToken[]} tokens
   */
  tint(measured, tokens) {
    const { value } = this.area;
    this.mirror.tint(measured, tokens);
    this.mirror.write(value);
    // Tints put other pieces in the place of those that the grey text stood between.
    if (value === this.#drawnText) this.mirror.showGhost(this.#grey, this.#drawnCaret);
  }

  untint() {
    hideNote();
    this.mirror.untint();
    this.mirror.showGhost(this.#grey, this.#drawnCaret);
  }

  /**
   * Say what was expected at the word that is pointed at, at most once a frame.
   *
   * @param {number} x
   * @param {number} y
   */
  #point(x, y) {
    if (this.#isPointed) return;
    this.#isPointed = true;
    requestAnimationFrame(() => {
      this.#isPointed = false;
      const found = this.mirror.wordAt(x, y);
      if (found === null) hideNote();
      else showNote(found.element, aboutToken(found.token));
    });
  }
}
