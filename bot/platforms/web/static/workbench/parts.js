/** The small parts of the workbench: buttons, tabs and their panels. */
import { h } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";

/** @param {[string, string]} entry */
export function tab([name, label]) {
  return h(
    "button",
    {
      type: "button",
      role: "tab",
      class: "tab",
      id: `bench-tab-${name}`,
      "aria-controls": `bench-${name}`,
      "data-do": "tab",
      "data-tab": name,
    },
    label,
  );
}

/** @param {string} name */
export function panel(name) {
  return h("div", {
    class: "bench-panel",
    role: "tabpanel",
    id: `bench-${name}`,
    "aria-labelledby": `bench-tab-${name}`,
  });
}

export function moreButton() {
  return h(
    "button",
    { type: "button", class: "icon-button", "data-do": "more", "aria-haspopup": "menu", "aria-label": "More" },
    iconOf("more"),
  );
}

/**
 * @param {string} action
 * @param {string} label
 * @param {string} kind
 */
export function button(action, label, kind) {
  return h("button", { type: "button", class: `button ${kind}`, "data-do": action }, label);
}
