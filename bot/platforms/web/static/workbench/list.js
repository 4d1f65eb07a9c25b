/**
 * The templates of a server, to search and to choose from.
 *
 * @import {Kind, ListedTemplate} from "../wire/types.js"
 * @import {Desk} from "./desk.js"
 */
import { h, morph } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";
import { makeStop, roving } from "../dom/roving.js";
import { workbenchAddress } from "../state/route.js";

/** What each kind does, in few words. @type {Record<Kind, string>} */
const KINDS = { classify: "chooses a label", complete: "writes a text", chat: "talks" };

export class TemplateList {
  /** @param {Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.search = h("input", {
      class: "field",
      type: "search",
      placeholder: "Search",
      "aria-label": "Search the templates",
      autocomplete: "off",
    });
    this.create = h("button", { type: "button", class: "button", "data-do": "new" }, iconOf("add"), "New template");
    this.items = h("ul", { class: "bench-items" });
    this.none = h("p", { class: "quiet", role: "status" });
    this.element = h(
      "nav",
      { class: "bench-list", "aria-label": "Templates" },
      h("div", { class: "bench-tools" }, this.search, this.create),
      this.none,
      this.items,
    );
    this.search.addEventListener("input", () => this.update());
    roving(this.items, ".bench-item");
  }

  update() {
    const { desk } = this;
    this.create.hidden = !desk.isModerator;
    const words = this.search.value.trim().toLowerCase();
    const shown = desk.templates.filter((one) =>
      `${one.name} ${one.description} ${one.kind} ${kindOf(one)}`.toLowerCase().includes(words),
    );
    this.none.textContent =
      shown.length > 0
        ? ""
        : desk.templates.length === 0
          ? desk.refusal || "Loading …"
          : "No template is called like this.";
    morph(
      this.items,
      h(
        "ul",
        { class: "bench-items" },
        shown.map((one) => this.#item(one)),
      ),
    );
    makeStop(this.items, ".bench-item", this.items.querySelector('[aria-current="page"]'));
  }

  /** @param {ListedTemplate} one */
  #item(one) {
    const { desk } = this;
    const isOpen = one.name === desk.name;
    const others = [...new Set(desk.editors.filter((editor) => editor.name === one.name).map((editor) => editor.who))];
    const facts = [kindOf(one), one.author || (one.is_shipped && one.number === 0 ? "built-in" : "")].filter(
      (fact) => fact !== "",
    );
    return h(
      "li",
      { "data-key": one.name },
      h(
        "a",
        {
          class: "bench-item",
          href: workbenchAddress(desk.channel, one.name),
          "aria-current": isOpen ? "page" : null,
        },
        h("strong", { class: "one-line" }, one.name),
        h("span", { class: "quiet", dir: "auto" }, facts.join(" · ")),
        one.score !== "" && h("span", { class: "bench-score" }, one.score),
        one.needs_larger_model && h("span", { class: "quiet" }, "needs a larger model"),
        one.has_draft && h("span", { class: "badge" }, one.is_published ? "your draft" : "new, your draft"),
        one.drafts_of.length > 0 && h("span", { class: "quiet", dir: "auto" }, `draft: ${one.drafts_of.join(", ")}`),
        one.num_proposed > 0 && h("span", { class: "badge" }, `${one.num_proposed} proposed`),
        others.length > 0 && h("span", { class: "bench-editing", dir: "auto" }, `${others.join(", ")} here now`),
      ),
    );
  }
}

/** @param {ListedTemplate} one */
function kindOf(one) {
  return one.kind === "" ? "" : KINDS[one.kind];
}
