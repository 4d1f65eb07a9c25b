/** The list of continuations below the text; the focus stays in the text. */
import { h } from "../dom/elements.js";

export class Offers {
  /** Which one is chosen, -1 for none. */
  at = -1;
  #drawn = "";

  /** @param {HTMLTextAreaElement} area Says which one is chosen. */
  constructor(area) {
    this.area = area;
    this.element = h("div", {
      class: "write-offers",
      id: "write-offers",
      role: "listbox",
      "aria-label": "Continuations",
      hidden: true,
    });
    // Choosing with the mouse leaves the caret where it is.
    this.element.addEventListener("pointerdown", (event) => event.preventDefault());
  }

  /** @param {string[]} texts */
  draw(texts) {
    if (this.at >= texts.length) this.at = -1;
    // Most keys change nothing here.
    const drawn = JSON.stringify([this.at, texts]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.element.hidden = texts.length === 0;
    this.element.replaceChildren(...texts.map((text, i) => this.#offer(text, i)));
    if (this.at === -1) this.area.removeAttribute("aria-activedescendant");
    else this.area.setAttribute("aria-activedescendant", `write-offer-${this.at}`);
  }

  /**
   * @param {1 | -1} step
   * @param {string[]} texts
   */
  move(step, texts) {
    this.at = Math.min(texts.length - 1, this.at + step);
    this.draw(texts);
    document.getElementById(`write-offer-${this.at}`)?.scrollIntoView({ block: "nearest" });
  }

  /**
   * @param {string} text
   * @param {number} i
   */
  #offer(text, i) {
    return h(
      "div",
      {
        class: "write-offer",
        role: "option",
        id: `write-offer-${i}`,
        "data-do": "offer",
        "data-at": i,
        "aria-selected": String(i === this.at),
      },
      h("span", { class: "number", "aria-hidden": "true" }, i < 9 ? i + 1 : ""),
      h("span", { dir: "auto" }, text.trimStart()),
    );
  }
}
