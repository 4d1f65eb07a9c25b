/**
 * Texts put side by side word by word: which word of one stands where which word of the first does. Nothing here draws.
 *
 * @import {Piece} from "../wire/types.js"
 */

/** Longer texts are paired in order: the table of the comparison grows with the product of the lengths. */
const MAX_COMPARED = 600;

/**
 * One column: the word of each text there, null where a text has none.
 *
 * @typedef {(Piece | null)[]} Column
 */

/**
 * @param {Piece[][]} texts The words of each text, without white space between them.
 * @returns {Column[]}
 */
export function alignTexts(texts) {
  const [first = [], ...others] = texts;
  const pairs = others.map((other) => pairUp(first, other));
  /** @type {Column[]} */
  const columns = [];
  for (let i = -1; i < first.length; i++) {
    const word = first[i];
    if (word !== undefined) columns.push([word, ...pairs.map(({ beside }) => beside[i] ?? null)]);
    const between = pairs.map(({ after }) => after[i + 1] ?? []);
    const width = Math.max(0, ...between.map((words) => words.length));
    for (let k = 0; k < width; k++) columns.push([null, ...between.map((words) => words[k] ?? null)]);
  }
  return columns;
}

/**
 * Return which word of `other` stands beside each of `first`, and which stand after it (from 1; at 0 before all).
 *
 * @param {Piece[]} first
 * @param {Piece[]} other
 */
function pairUp(first, other) {
  /** @type {(Piece | null)[]} */
  const beside = first.map(() => null);
  /** @type {Piece[][]} */
  const after = [[], ...first.map(() => [])];
  let i = 0;
  let j = 0;
  /** @type {[number, number]} */
  const end = [first.length, other.length];
  for (const [to, toOther] of [...commonWords(first, other), end]) {
    // What differs between two common words is paired in order; the rest of the longer part stands after it.
    while (i < to && j < toOther) beside[i++] = other[j++] ?? null;
    while (j < toOther) after[i]?.push(.../** @type {[Piece]} */ ([other[j++]]));
    i = to;
    if (i < first.length) beside[i++] = other[j++] ?? null;
  }
  return { beside, after };
}

/**
 * Return the places of the longest sequence of words that both have, in order.
 *
 * @param {Piece[]} first
 * @param {Piece[]} other
 * @returns {[number, number][]}
 */
function commonWords(first, other) {
  if (first.length > MAX_COMPARED || other.length > MAX_COMPARED) return [];
  const width = other.length + 1;
  // How long the longest common sequence is from each pair of places on.
  const lengths = new Uint16Array((first.length + 1) * width);
  for (let i = first.length - 1; i >= 0; i--) {
    for (let j = other.length - 1; j >= 0; j--) {
      const here = i * width + j;
      const best = Math.max(lengths[here + width] ?? 0, lengths[here + 1] ?? 0);
      lengths[here] = isSame(first[i], other[j]) ? (lengths[here + width + 1] ?? 0) + 1 : best;
    }
  }
  /** @type {[number, number][]} */
  const found = [];
  for (let i = 0, j = 0; i < first.length && j < other.length;) {
    const here = i * width + j;
    if (isSame(first[i], other[j])) found.push([i++, j++]);
    else if ((lengths[here + width] ?? 0) >= (lengths[here + 1] ?? 0)) i++;
    else j++;
  }
  return found;
}

/**
 * @param {Piece | undefined} a
 * @param {Piece | undefined} b
 */
function isSame(a, b) {
  return a?.[0].trim().toLowerCase() === b?.[0].trim().toLowerCase();
}
