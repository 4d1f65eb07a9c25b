/** One stop for Tab in a list; the arrow keys move inside it. */

/**
 * Let the arrow keys, Home and End move the focus among the elements of `root` that match `selector`.
 *
 * The element that was focused last is the one that Tab reaches. With `within`, each element that matches it is a list
 * of its own.
 *
 * @param {HTMLElement} root
 * @param {string} selector
 * @param {{isHorizontal?: boolean, isBoth?: boolean, within?: string}} [how]
 */
export function roving(root, selector, how = {}) {
  const forward = how.isHorizontal ? ["ArrowRight"] : how.isBoth ? ["ArrowDown", "ArrowRight"] : ["ArrowDown"];
  const back = how.isHorizontal ? ["ArrowLeft"] : how.isBoth ? ["ArrowUp", "ArrowLeft"] : ["ArrowUp"];
  root.addEventListener("keydown", (event) => {
    const from = event.target instanceof HTMLElement ? event.target : null;
    if (from === null || !from.matches(selector) || event.ctrlKey || event.metaKey || event.altKey) return;
    const items = itemsOf(listOf(root, from, how.within), selector);
    const at = items.indexOf(from);
    const isRtl = how.isHorizontal === true && getComputedStyle(from).direction === "rtl";
    const step = forward.includes(event.key) ? 1 : back.includes(event.key) ? -1 : 0;
    let to = at + (isRtl ? -step : step);
    if (event.key === "Home") to = 0;
    else if (event.key === "End") to = items.length - 1;
    else if (step === 0) return;
    event.preventDefault();
    event.stopPropagation();
    items[Math.max(0, Math.min(items.length - 1, to))]?.focus();
  });
  root.addEventListener("focusin", (event) => {
    const target = event.target instanceof HTMLElement ? event.target.closest(selector) : null;
    if (target instanceof HTMLElement) makeStop(listOf(root, target, how.within), selector, target);
  });
}

/**
 * Make `stop`, or the first element, the one that Tab reaches.
 *
 * @param {Element} root
 * @param {string} selector
 * @param {HTMLElement | null} stop
 */
export function makeStop(root, selector, stop) {
  const items = itemsOf(root, selector);
  const chosen = stop ?? items.find((one) => one.tabIndex === 0) ?? items[0];
  for (const item of items) item.tabIndex = item === chosen ? 0 : -1;
}

/**
 * @param {HTMLElement} root
 * @param {HTMLElement} item
 * @param {string | undefined} within
 */
function listOf(root, item, within) {
  return within === undefined ? root : (item.closest(within) ?? root);
}

/**
 * @param {Element} root
 * @param {string} selector
 */
function itemsOf(root, selector) {
  return /** @type {HTMLElement[]} */ ([...root.querySelectorAll(selector)]);
}
