/**
 * The versions of a template: who published what, when and why; what changed; and the way back.
 *
 * @import {TemplateVersion} from "../wire/types.js"
 * @import {Desk} from "./desk.js"
 */
import { Dialog } from "../dialogs/dialog.js";
import { h, morph, onAction } from "../dom/elements.js";
import { alarm, speak } from "../dom/speaking.js";
import { shortTimeOf } from "../messages/times.js";
import { sentenceOf } from "../state/session.js";
import { drawDiff } from "./changes.js";

/** @type {Record<string, string>} */
const ACTIONS = {
  new: "new",
  edit: "edited",
  rollback: "rolled back",
  import: "imported",
  delete: "deleted",
  forget: "a member's words were erased",
};

export class HistoryView {
  /** @param {Desk} desk */
  constructor(desk) {
    this.desk = desk;
    /** @type {TemplateVersion[]} */
    this.versions = [];
    this.changes = h("div", { class: "bench-changes" });
    this.title = h("h3", { tabindex: -1 }, "Versions");
    this.list = h("ol", { class: "bench-versions" });
    this.shown = h("div", { role: "status" });
    this.element = h(
      "section",
      { class: "bench-history", "aria-label": "History" },
      h("h3", {}, "Your changes"),
      this.changes,
      this.title,
      this.list,
      this.shown,
    );
    onAction(this.element, {
      changes: (button) => void this.#compare(Number(button.dataset.number)),
      back: (button) => void this.#rollBack(button.dataset.number ?? ""),
    });
  }

  /** Another template is shown. */
  begin() {
    this.shown.replaceChildren();
    this.versions = [];
    void this.update();
  }

  /** Show the versions as they are now. */
  async update() {
    const { desk } = this;
    const { opened, name } = desk;
    if (opened === null) return;
    const none = opened.has_draft ? "Nothing differs from the published version." : "You have no draft.";
    const isNew = opened.has_draft && opened.published === null;
    this.changes.replaceChildren(
      opened.diff === "" ? h("p", { class: "quiet" }, isNew ? "The template is new." : none) : drawDiff(opened.diff),
    );
    try {
      const { versions } = await desk.ask("history");
      if (name !== desk.name) return;
      this.versions = versions;
    } catch {
      return; // The connection is back soon, and then this is asked again.
    }
    const isModerator = opened.is_moderator;
    const items = this.versions.map((one) => this.#item(one, isModerator));
    if (opened.is_shipped) items.push(builtIn(isModerator && opened.number > 0));
    if (items.length === 0) items.push(h("li", { class: "quiet" }, "It is not published yet."));
    morph(this.list, h("ol", { class: "bench-versions" }, items));
  }

  /**
   * @param {TemplateVersion} one
   * @param {boolean} isModerator
   */
  #item(one, isModerator) {
    const isCurrent = one.number === this.desk.opened?.number;
    return h(
      "li",
      { class: "bench-version", "data-key": one.number },
      h(
        "p",
        {},
        h("strong", {}, `Version ${one.number}`),
        isCurrent && h("span", { class: "badge" }, "published"),
        h("span", { class: "quiet", dir: "auto" }, ` ${ACTIONS[one.action] ?? one.action} `),
        one.author !== "" && ["by ", h("bdi", {}, one.author)],
        h("time", { class: "quiet", datetime: one.at }, ` ${shortTimeOf(one.at)}`),
      ),
      one.reason !== "" && h("p", { dir: "auto" }, one.reason),
      one.score !== null && h("p", { class: "quiet" }, scoreWords(one)),
      h(
        "div",
        { class: "bench-tools" },
        h(
          "button",
          {
            type: "button",
            class: "button",
            "data-do": "changes",
            "data-number": one.number,
            "aria-label": `What changed in version ${one.number}`,
          },
          "What changed",
        ),
        isModerator && !isCurrent && one.action !== "delete" && backButton(String(one.number), `version ${one.number}`),
      ),
    );
  }

  /** @param {number} number */
  async #compare(number) {
    const at = this.versions.findIndex((one) => one.number === number);
    const before = this.versions[at + 1];
    const first = before === undefined ? (this.desk.opened?.is_shipped ? "built-in" : "") : String(before.number);
    try {
      if (first === "") {
        this.shown.replaceChildren(h("p", { class: "quiet" }, `Version ${number} is the first one.`));
        return;
      }
      const { title, diff } = await this.desk.ask("compare", { a: first, b: String(number) });
      this.shown.replaceChildren(
        h("h3", { dir: "auto" }, title),
        diff === "" ? h("p", {}, "They are the same.") : drawDiff(diff),
      );
    } catch (error) {
      this.shown.replaceChildren(h("p", { class: "problem", dir: "auto" }, sentenceOf(error)));
      alarm(sentenceOf(error));
    }
  }

  /** @param {string} version */
  async #rollBack(version) {
    const what = version === "built-in" ? "the built-in version" : `version ${version}`;
    const reason = h("input", { class: "field", type: "text", autocomplete: "off", maxlength: 300, dir: "auto" });
    const body = [
      h("p", {}, `Everyone here uses ${what} again. Your draft stays as it is, and so does the history.`),
      h("label", { class: "labelled" }, "Reason (optional)", reason),
    ];
    const dialog = new Dialog(`Roll ${this.desk.name} back?`, body, { label: "Roll back" });
    const done = dialog.run(async () => {
      try {
        const { sentence } = await this.desk.ask("roll_back", { version, reason: reason.value });
        speak(sentence);
        return "";
      } catch (error) {
        return sentenceOf(error);
      }
    });
    reason.focus();
    if (!(await done)) return;
    await this.desk.refresh();
    await this.update();
    // The built-in version that is used now has no button any more.
    if (document.activeElement === document.body) this.title.focus();
  }
}

/** @param {boolean} canGoBack */
function builtIn(canGoBack) {
  return h(
    "li",
    { class: "bench-version", "data-key": "built-in" },
    h("p", {}, h("strong", {}, "Built-in version")),
    canGoBack && h("div", { class: "bench-tools" }, backButton("built-in", "the built-in version")),
  );
}

/**
 * @param {string} version
 * @param {string} name
 */
function backButton(version, name) {
  return h(
    "button",
    {
      type: "button",
      class: "button",
      "data-do": "back",
      "data-number": version,
      "aria-label": `Roll back to ${name}`,
    },
    "Roll back",
  );
}

/** @param {TemplateVersion} one */
function scoreWords(one) {
  const score = one.score ?? {};
  const figure =
    typeof score.accuracy === "number"
      ? `${score.num_right ?? "?"} of ${score.num_rows} right`
      : `${Number(score.bits_per_byte ?? 0).toFixed(3)} bits per byte on ${score.num_rows} tests`;
  return one.is_stale ? `${figure}, measured with another model` : figure;
}
