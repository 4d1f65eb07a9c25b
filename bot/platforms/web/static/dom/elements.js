/** Make elements, and change shown ones into newly made ones without losing focus, selection or typed text. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {Node | string | number | null | undefined | false} Child
 * @typedef {Record<string, string | number | boolean | null | undefined>} Attributes
 */

/**
 * Make an element. An attribute that is null or false is left out; `--name` sets a property for the style sheets.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {(Child | Child[])[]} children Texts are always text, never markup.
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("--")) element.style.setProperty(name, String(value));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter(isShown).map(nodeOrText));
  return element;
}

/**
 * @param {Child} child
 * @returns {child is Node | string | number}
 */
function isShown(child) {
  return child !== null && child !== undefined && child !== false;
}

/** @param {Node | string | number} child */
function nodeOrText(child) {
  return child instanceof Node ? child : String(child);
}

/**
 * Make an icon from the path of its strokes in a square of 20. It says nothing to a screen reader.
 *
 * @param {string} path
 */
export function icon(path) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS(SVG, "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

/**
 * Return the element with this id. Throws if the page has none.
 *
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {string} id
 * @returns {Kind}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`The page has no #${id}.`);
  return /** @type {Kind} */ (found);
}

/**
 * Make `shown` equal to `wanted`, keeping the elements that stay. Children with `data-key` are matched by it.
 *
 * What a person typed or opened stays: values of inputs, `open`, scroll positions.
 *
 * @param {Element} shown
 * @param {Element} wanted
 */
export function morph(shown, wanted) {
  syncAttributes(shown, wanted);
  if (shown instanceof HTMLTextAreaElement || shown instanceof HTMLInputElement) return;
  syncChildren(shown, [...wanted.childNodes]);
}

/**
 * @param {Element} shown
 * @param {Element} wanted
 */
function syncAttributes(shown, wanted) {
  for (const { name } of [...shown.attributes]) {
    if (!wanted.hasAttribute(name) && name !== "open") shown.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (shown.getAttribute(name) === value) continue;
    // The page's security policy forbids setting the attribute, not the style itself.
    if (name === "style" && shown instanceof HTMLElement) shown.style.cssText = value;
    else shown.setAttribute(name, value);
  }
}

/**
 * Make the children of `parent` those of `wanted`, reusing what is there.
 *
 * @param {Element} parent
 * @param {Node[]} wanted
 */
function syncChildren(parent, wanted) {
  /** @type {Map<string, Element>} */
  const keyed = new Map();
  for (const child of parent.children) {
    const key = keyOf(child);
    if (key !== null) keyed.set(key, child);
  }
  const wantedKeys = new Set(wanted.map(keyOf));
  // What goes is removed first: an element that is moved would lose the focus.
  for (const [key, child] of keyed) if (!wantedKeys.has(key)) child.remove();
  /** @type {ChildNode | null} */
  let place = parent.firstChild;
  for (const node of wanted) {
    const key = keyOf(node);
    const same = key === null ? reusable(place, node) : (keyed.get(key) ?? null);
    if (same === null || same.nodeName !== node.nodeName) {
      parent.insertBefore(node, place);
      continue;
    }
    if (same === place) place = place.nextSibling;
    else parent.insertBefore(same, place);
    if (same instanceof Element) morph(same, /** @type {Element} */ (node));
    else if (same.nodeValue !== node.nodeValue) same.nodeValue = node.nodeValue;
  }
  while (place !== null) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

/**
 * @param {ChildNode | null} place
 * @param {Node} node
 */
function reusable(place, node) {
  return place !== null && keyOf(place) === null && place.nodeName === node.nodeName ? place : null;
}

/** @param {Node} node */
function keyOf(node) {
  return node instanceof HTMLElement ? (node.dataset.key ?? null) : null;
}

/**
 * Call the function that `actions` has for the `data-do` of what was clicked inside `root`.
 *
 * @param {HTMLElement} root
 * @param {Record<string, (element: HTMLElement, event: Event) => void>} actions
 */
export function onAction(root, actions) {
  root.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target.closest("[data-do]") : null;
    if (!(target instanceof HTMLElement) || !root.contains(target)) return;
    if (target.getAttribute("aria-disabled") === "true") return;
    actions[target.dataset.do ?? ""]?.(target, event);
  });
}
