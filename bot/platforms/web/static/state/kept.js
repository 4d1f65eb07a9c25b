/** What this window keeps over a reload: drafts, who it speaks as, what is folded. It ends with the window. */

/**
 * @param {string} key
 * @returns {string}
 */
export function readKept(key) {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

/**
 * Keep `value`; an empty one is forgotten.
 *
 * @param {string} key
 * @param {string} value
 */
export function keep(key, value) {
  try {
    if (value === "") sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, value);
  } catch {
    // The browser keeps nothing for this page, or the value is too long: then a reload loses it.
  }
}
