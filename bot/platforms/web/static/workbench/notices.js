/**
 * What is said above a template: what to do next, whether all is saved, what others did, and what is proposed.
 *
 * @import {Clash} from "../wire/types.js"
 * @import {Desk} from "./desk.js"
 */
import { h, morph, onAction } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";
import { alarm } from "../dom/speaking.js";
import { sentenceOf } from "../state/session.js";
import { drawDiff } from "./changes.js";

const SAVING = {
  saved: "Saved",
  saving: "Saving …",
  waiting: "Not saved: there is no connection. What you type is kept in this window.",
  refused: "",
};
/** @type {Record<string, string>} */
const FIELDS = {
  description: "What it is for",
  kind: "What it does",
  instruction: "What the model reads first",
  query: "How it is asked",
  preset: "How it chooses its words",
  options: "Options",
};

export class Notices {
  /** @param {Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.saving = h("p", { class: "bench-saving quiet", role: "status" });
    this.next = h("p", { class: "bench-next", role: "status", dir: "auto" });
    this.others = h("div", { class: "bench-others" });
    onAction(this.others, {
      join: () => void this.#act(async () => desk.joined(await desk.ask("join"))),
      theirs: (button) => this.#takeTheirs(Number(button.dataset.at)),
      mine: (button) => this.#drop(Number(button.dataset.at)),
      settle: (button) => {
        const { number, table } = button.dataset;
        void this.#act(async () => {
          await desk.flush();
          await desk.ask("settle", { number, table });
        });
      },
      seen: () => {
        desk.news = [];
        this.update();
      },
    });
  }

  /** Show what there is to say now. */
  update() {
    const { desk } = this;
    const { opened } = desk;
    const hasDraft = opened !== null && (opened.has_draft || desk.isDirty);
    const words = desk.saving === "refused" ? `Not saved: ${desk.saveProblem}` : SAVING[desk.saving];
    this.saving.textContent = desk.loading || (hasDraft || desk.saving !== "saved" ? words : "");
    this.saving.classList.toggle("is-problem", desk.saving === "waiting" || desk.saving === "refused");
    if (this.next.textContent !== (opened?.next ?? "")) this.next.textContent = opened?.next ?? "";
    morph(
      this.others,
      h(
        "div",
        { class: "bench-others" },
        this.#editing(),
        this.#overtaken(),
        this.#clashes(),
        this.#proposals(),
        this.#news(),
      ),
    );
  }

  #editing() {
    const who = this.desk.editors.filter((one) => one.name === this.desk.name).map((one) => one.who);
    if (who.length === 0) return null;
    const are = who.length === 1 ? "is" : "are";
    return h(
      "p",
      { class: "bench-editing", dir: "auto" },
      `${who.join(" and ")} ${are} here, too. Each of you has a draft.`,
    );
  }

  #overtaken() {
    const { opened } = this.desk;
    if (opened === null || opened.overtaken === "") return null;
    return h(
      "div",
      { class: "bench-box" },
      h("p", { dir: "auto" }, opened.overtaken),
      opened.overtaken_diff !== "" && drawDiff(opened.overtaken_diff),
      h(
        "button",
        { type: "button", class: "button is-primary", "data-do": "join" },
        "Take these changes into my draft",
      ),
    );
  }

  #clashes() {
    return this.desk.clashes.map((one, i) =>
      h(
        "div",
        { class: "bench-box" },
        h("p", {}, `“${FIELDS[one.field] ?? one.field}” was changed elsewhere, too. There it is now:`),
        h("pre", { class: "prompt-text", dir: "auto" }, one.theirs),
        h(
          "div",
          { class: "bench-tools" },
          h("button", { type: "button", class: "button", "data-do": "mine", "data-at": i }, "Keep mine"),
          h("button", { type: "button", class: "button", "data-do": "theirs", "data-at": i }, "Take that"),
        ),
      ),
    );
  }

  #proposals() {
    const { opened } = this.desk;
    if (opened === null || opened.proposals.length === 0) return null;
    const items = opened.proposals.map((one) => {
      const button = (/** @type {string} */ label, /** @type {string} */ table) =>
        h(
          "button",
          { type: "button", class: "button", "data-do": "settle", "data-number": one.number, "data-table": table },
          label,
        );
      return h(
        "li",
        { "data-key": String(one.number) },
        h(
          "p",
          {},
          h("bdi", {}, one.by),
          " proposes: ",
          h("q", { dir: "auto" }, one.input),
          " → ",
          h("q", { dir: "auto" }, one.output),
        ),
        h(
          "div",
          { class: "bench-tools" },
          button("As an example", "examples"),
          button("As a test", "tests"),
          button("Dismiss", ""),
        ),
      );
    });
    return h("ul", { class: "bench-box bench-proposals", "aria-label": "Proposed examples" }, items);
  }

  #news() {
    const { news } = this.desk;
    if (news.length === 0) return null;
    return h(
      "div",
      { class: "bench-box bench-news" },
      h(
        "ul",
        { "aria-label": "News" },
        news.map((one) => h("li", { dir: "auto" }, one)),
      ),
      h(
        "button",
        { type: "button", class: "icon-button", "data-do": "seen", "aria-label": "Close the news" },
        iconOf("close"),
      ),
    );
  }

  /** @param {number} at */
  #takeTheirs(at) {
    const clash = /** @type {Clash | undefined} */ (this.desk.clashes[at]);
    if (clash !== undefined) {
      this.desk.type({ [clash.field]: clash.theirs });
      this.desk.changed("joined");
    }
    this.#drop(at);
  }

  /** @param {number} at */
  #drop(at) {
    this.desk.clashes = this.desk.clashes.toSpliced(at, 1);
    this.update();
  }

  /** @param {() => Promise<void>} act */
  async #act(act) {
    try {
      await act();
      await this.desk.refresh();
    } catch (error) {
      alarm(sentenceOf(error));
      this.desk.tell(sentenceOf(error));
    }
  }
}
