/** The right column of Write: what stands beside the text. */
import { h } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";

export class Tools {
  /** @param {HTMLElement[]} sections */
  constructor(...sections) {
    this.body = h(
      "div",
      { class: "panel-body", tabindex: 0, role: "region", "aria-label": "Word, sampling and branches" },
      sections,
    );
    this.element = h(
      "div",
      { class: "panel write-tools" },
      h(
        "header",
        { class: "head" },
        h("h2", { class: "head-title" }, "Tools"),
        h(
          "button",
          {
            type: "button",
            class: "icon-button",
            "data-do": "close-side",
            "aria-label": "Close",
            "data-note": "Close",
          },
          iconOf("close"),
        ),
      ),
      this.body,
    );
  }

  focus() {
    this.body.focus();
  }
}
