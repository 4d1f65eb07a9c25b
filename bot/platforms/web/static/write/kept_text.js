/** What a reload needs of the text that a person writes. */
import { keep, readKept } from "../state/kept.js";

/**
 * The text, and what it was made of, "" for nothing.
 *
 * @typedef {{text: string, id: string, at: number, revision: number, isSaved: boolean}} KeptText
 */

/**
 * Keep a text over a reload of the page.
 *
 * @param {string} person
 * @param {KeptText} kept
 */
export function keepText(person, kept) {
  keep(keyOf(person), JSON.stringify(kept));
}

/**
 * Return what was kept, null if nothing is.
 *
 * @param {string} person
 * @returns {KeptText | null}
 */
export function readText(person) {
  try {
    return JSON.parse(readKept(keyOf(person)));
  } catch {
    return null;
  }
}

/** @param {string} person */
function keyOf(person) {
  return `write ${person}`;
}
