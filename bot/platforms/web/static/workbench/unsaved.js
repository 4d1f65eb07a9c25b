/**
 * What was typed and is not saved yet, kept in this window over a reload.
 *
 * @import {TemplateState} from "../wire/types.js"
 */
import { keep, readKept } from "../state/kept.js";

/** @typedef {{state: TemplateState, base: TemplateState, revision: string}} Unsaved */

/**
 * @param {string} key
 * @param {Unsaved} unsaved
 */
export function keepUnsaved(key, unsaved) {
  keep(key, JSON.stringify(unsaved));
}

/**
 * @param {string} key
 * @returns {Unsaved | null}
 */
export function readUnsaved(key) {
  try {
    return JSON.parse(readKept(key) || "null");
  } catch {
    return null;
  }
}

/** @param {string} key */
export function forget(key) {
  keep(key, "");
}

/**
 * @param {TemplateState} one
 * @param {TemplateState} other
 */
export function isSame(one, other) {
  return one === other || JSON.stringify(ordered(one)) === JSON.stringify(ordered(other));
}

/** @param {TemplateState} state */
function ordered(state) {
  return Object.entries(state).sort(([a], [b]) => (a < b ? -1 : 1));
}
