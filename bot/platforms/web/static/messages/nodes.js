/**
 * The elements of the rows: made once, changed in place, and put in order with as few moves as possible.
 *
 * @import {Row} from "./rows.js"
 */
import { markWide } from "../cards/wide.js";
import { morph } from "../dom/elements.js";

const STOPS = "button, a, summary, textarea, .word";

export class Nodes {
  /** @type {Map<string, {mark: string, node: HTMLElement}>} */
  #known = new Map();
  /** @type {Set<HTMLElement>} */
  #changed = new Set();

  /** @param {HTMLElement} list */
  constructor(list) {
    this.list = list;
    window.addEventListener("resize", () => markWide(list));
  }

  /** @param {string} key */
  get(key) {
    return this.#known.get(key)?.node;
  }

  clear() {
    this.#known.clear();
    this.list.replaceChildren();
  }

  /**
   * Show these rows and no others.
   *
   * @param {Row[]} rows
   * @param {string} active The key of the row that Tab reaches.
   */
  show(rows, active) {
    const wanted = rows.map((row) => this.#node(row, active));
    const stays = new Set(wanted);
    for (const [key, { node }] of this.#known) {
      if (stays.has(node)) continue;
      node.remove();
      this.#known.delete(key);
    }
    for (const [i, node] of wanted.entries()) {
      if (this.list.children[i] !== node) this.list.insertBefore(node, this.list.children[i] ?? null);
    }
    for (const node of this.#changed) markWide(node);
    this.#changed.clear();
  }

  /**
   * Make this the row that Tab reaches, with what is in it.
   *
   * @param {string} active
   */
  setActive(active) {
    for (const [key, { node }] of this.#known) setStops(node, key === active);
  }

  /**
   * @param {Row} row
   * @param {string} active
   */
  #node({ key, mark, render }, active) {
    const known = this.#known.get(key);
    if (known?.mark === mark) return known.node;
    const made = render();
    setStops(made, key === active);
    this.#changed.add(known?.node ?? made);
    if (known === undefined) {
      this.#known.set(key, { mark, node: made });
      return made;
    }
    morph(known.node, made);
    known.mark = mark;
    return known.node;
  }
}

/**
 * Let Tab reach what is in a message only if the message itself is the one that Tab reaches.
 *
 * @param {HTMLElement} node
 * @param {boolean} isActive
 */
function setStops(node, isActive) {
  if (!node.matches(".message")) return;
  node.tabIndex = isActive ? 0 : -1;
  const seen = new Set();
  for (const stop of /** @type {NodeListOf<HTMLElement>} */ (node.querySelectorAll(STOPS))) {
    const list = stop.matches(".word") ? stop.closest('[role="listbox"]') : null;
    const isFollower = list !== null && seen.has(list);
    seen.add(list);
    stop.tabIndex = isActive && !isFollower ? 0 : -1;
  }
}
