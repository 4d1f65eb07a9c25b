/**
 * The mirror under the text: its lines, the tints of its words, and the grey continuation where the caret is.
 *
 * A key changes only the pieces that it touches, so that typing costs the same in a long and tinted text.
 *
 * @import {MeasuredToken} from "../look/measuring.js"
 */
import { h } from "../dom/elements.js";
import { bitsOf, tintOf } from "../look/tokens.js";

/**
 * @typedef {{text: string, token: MeasuredToken | null}} Part
 * @typedef {Part & {node: Text | HTMLElement}} Piece
 */

export class Mirror {
  /** Together they are the text. @type {Piece[]} */
  #pieces = [];
  #text = "";
  #ghost = h("span", { class: "ghost" });
  /** @type {WeakMap<Node, MeasuredToken>} */
  #tokens = new WeakMap();

  constructor() {
    // The last line of a text area is shown also when it is empty.
    this.element = h("div", { class: "write-mirror", dir: "auto", "aria-hidden": "true" }, "\n");
    this.#end = /** @type {ChildNode} */ (this.element.firstChild);
  }

  /** @type {ChildNode} */
  #end;

  /** @param {string} text What is tinted and not touched stays tinted. */
  write(text) {
    const old = this.#text;
    if (text === old) return;
    const most = Math.min(text.length, old.length);
    let start = 0;
    while (start < most && text[start] === old[start]) start++;
    let numSame = 0;
    while (numSame < most - start && text[text.length - 1 - numSame] === old[old.length - 1 - numSame]) numSame++;
    this.#replace(start, old.length - numSame, text.slice(start, text.length - numSame));
    this.#text = text;
  }

  /**
   * Show `text` in grey at a place, "" for none.
   *
   * @param {string} text
   * @param {number} at
   */
  showGhost(text, at) {
    if (this.#ghost.textContent !== text) this.#ghost.textContent = text;
    if (text === "") {
      this.#ghost.remove();
      return;
    }
    const i = this.#split(at);
    const next = this.#pieces[i]?.node ?? this.#end;
    if (this.#ghost.nextSibling !== next) next.before(this.#ghost);
  }

  /**
   * Tint a text by its tokens: what is shown is `text` afterwards. Words that stay the same stay where they are.
   *
   * @param {string} text
   * @param {MeasuredToken[]} tokens Their places are in `text`.
   */
  tint(text, tokens) {
    const before = this.#pieces;
    const wanted = partsOf(text, tokens);
    const fits = (/** @type {Part | undefined} */ one, /** @type {Piece | undefined} */ known) =>
      one !== undefined && one.text === known?.text && (one.token === null) === (known.token === null);
    const most = Math.min(before.length, wanted.length);
    let start = 0;
    while (start < most && fits(wanted[start], before[start])) start++;
    let end = 0;
    while (end < most - start && fits(wanted.at(-1 - end), before.at(-1 - end))) end++;
    const kept = before.length - wanted.length;
    for (const piece of before.slice(start, before.length - end)) piece.node.remove();
    this.#pieces = wanted.map(({ text: own, token }, i) => {
      const known = i < start ? before[i] : i >= wanted.length - end ? before[i + kept] : undefined;
      return known === undefined ? this.#piece(own, token) : this.#retinted(known, token);
    });
    this.#ghost.remove();
    const next = this.#pieces[wanted.length - end]?.node ?? this.#end;
    next.before(...this.#pieces.slice(start, wanted.length - end).map((one) => one.node));
    this.#text = text;
  }

  untint() {
    this.tint(this.#text, []);
  }

  /**
   * Return the tinted word at a place of the window, though the text lies over it.
   *
   * @param {number} x
   * @param {number} y
   */
  wordAt(x, y) {
    for (const element of document.elementsFromPoint(x, y)) {
      const token = this.#tokens.get(element);
      if (token !== undefined && element instanceof HTMLElement) return { element, token };
    }
    return null;
  }

  /**
   * @param {number} start
   * @param {number} end
   * @param {string} text
   */
  #replace(start, end, text) {
    const last = this.#pieces.at(-1);
    // Most keys write at the end of a line that is not tinted yet.
    if (start === this.#text.length && last !== undefined && last.token === null) {
      // Chromium takes far longer to lay out a long line whose text node grew than one that has another node.
      const longer = this.#piece(last.text + text, null);
      last.node.replaceWith(longer.node);
      this.#pieces[this.#pieces.length - 1] = longer;
      return;
    }
    const from = this.#split(start);
    const to = this.#split(end);
    const next = this.#pieces[to]?.node ?? this.#end;
    const gone = this.#pieces.splice(from, to - from, ...(text === "" ? [] : [this.#piece(text, null)]));
    for (const piece of gone) piece.node.remove();
    const added = this.#pieces[from];
    if (text !== "" && added !== undefined) next.before(added.node);
  }

  /**
   * Let a piece begin at a place; return which. A word that is cut is no longer tinted.
   *
   * @param {number} at
   */
  #split(at) {
    let start = 0;
    let i = 0;
    for (const piece of this.#pieces) {
      if (at <= start) break;
      if (at < start + piece.text.length) {
        const parts = [piece.text.slice(0, at - start), piece.text.slice(at - start)].map((one) =>
          this.#piece(one, null),
        );
        this.#pieces.splice(i, 1, ...parts);
        piece.node.replaceWith(...parts.map((one) => one.node));
        return i + 1;
      }
      start += piece.text.length;
      i++;
    }
    return i;
  }

  /**
   * @param {string} text
   * @param {MeasuredToken | null} token
   * @returns {Piece}
   */
  #piece(text, token) {
    if (token === null) return { text, token, node: new Text(text) };
    const node = h("span", { class: "tinted", "--tint": tintOf(token) }, text);
    this.#tokens.set(node, token);
    return { text, token, node };
  }

  /**
   * @param {Piece} piece
   * @param {MeasuredToken | null} token
   */
  #retinted(piece, token) {
    const { text, node } = piece;
    if (token === null || !(node instanceof HTMLElement)) return piece;
    const tint = tintOf(token);
    if (node.style.getPropertyValue("--tint") !== tint) node.style.setProperty("--tint", tint);
    this.#tokens.set(node, token);
    return { text, token, node };
  }
}

/**
 * Return the pieces of a text: its scored tokens, and what is between them.
 *
 * @param {string} text
 * @param {MeasuredToken[]} tokens
 */
function partsOf(text, tokens) {
  /** @type {Part[]} */
  const parts = [];
  let end = 0;
  for (const token of tokens) {
    if (token.end <= token.start) continue;
    if (token.start > end) parts.push({ text: text.slice(end, token.start), token: null });
    parts.push({ text: text.slice(token.start, token.end), token: bitsOf(token) === null ? null : token });
    end = token.end;
  }
  if (end < text.length) parts.push({ text: text.slice(end), token: null });
  return parts;
}
