/** The list of what may be typed next, above the composer. The focus stays in the text. */
import { h } from "../dom/elements.js";

/**
 * `choose` puts it into the text.
 *
 * @typedef {{label: string, help: string, choose: () => void}} PaletteItem
 */

const MAX_ITEMS = 60;

export class Palette {
  /** @type {PaletteItem[]} */
  #items = [];
  #at = -1;

  /** @param {string} id */
  constructor(id) {
    this.id = id;
    const attributes = {
      class: "palette",
      id,
      role: "listbox",
      "aria-label": "Suggestions",
      tabindex: 0,
      hidden: true,
    };
    this.element = h("div", attributes);
    // The text keeps the focus.
    this.element.addEventListener("pointerdown", (event) => event.preventDefault());
    this.element.addEventListener("click", (event) => {
      const item = event.target instanceof Element ? event.target.closest("[data-at]") : null;
      if (item instanceof HTMLElement) this.#items[Number(item.dataset.at)]?.choose();
    });
  }

  get isOpen() {
    return this.#items.length > 0;
  }

  /** Return the id of the item that Enter chooses. */
  get activeId() {
    return this.#at === -1 ? "" : `${this.id}-${this.#at}`;
  }

  get active() {
    return this.#items[this.#at];
  }

  get first() {
    return this.#items[0];
  }

  /**
   * @param {PaletteItem[]} items
   * @param {number} at Which one Enter chooses; -1 none.
   */
  show(items, at) {
    this.#items = items.slice(0, MAX_ITEMS);
    this.#at = Math.min(at, this.#items.length - 1);
    this.element.hidden = this.#items.length === 0;
    /** @type {HTMLElement[]} */
    const nodes = [];
    for (const [i, item] of this.#items.entries()) {
      nodes.push(
        h(
          "div",
          {
            class: "palette-item",
            role: "option",
            id: `${this.id}-${i}`,
            "data-at": i,
            "aria-selected": String(i === this.#at),
          },
          h("bdi", { class: "palette-label" }, item.label),
          item.help !== "" && h("span", { class: "palette-help one-line", dir: "auto" }, item.help),
        ),
      );
    }
    this.element.replaceChildren(...nodes);
    this.#scroll();
  }

  hide() {
    this.show([], -1);
  }

  /** @param {1 | -1} step */
  move(step) {
    const count = this.#items.length;
    this.#at = this.#at === -1 && step === -1 ? count - 1 : (this.#at + step + count) % count;
    for (const node of this.element.querySelectorAll("[data-at]")) {
      node.setAttribute("aria-selected", String(node.id === this.activeId));
    }
    this.#scroll();
  }

  #scroll() {
    if (this.#at !== -1) document.getElementById(this.activeId)?.scrollIntoView({ block: "nearest" });
  }
}
