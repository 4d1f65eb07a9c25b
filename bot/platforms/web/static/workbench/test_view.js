/**
 * The tests of a template: run with progress, row by row, with what was answered and how sure the model was of it.
 *
 * @import {BenchEvent, TemplateFigures, TestResult} from "../wire/types.js"
 * @import {Desk} from "./desk.js"
 */
import { h, morph, onAction } from "../dom/elements.js";
import { alarm, speak } from "../dom/speaking.js";
import { sentenceOf } from "../state/session.js";
import { confusionTable } from "./confusion.js";

/** @typedef {"all" | "wrong" | "changed"} Filter */

export class TestView {
  /** What was told while the tests run. @type {Map<number, TestResult>} */
  #running = new Map();
  isRunning = false;
  /** @type {Filter} */
  #filter = "all";
  /** The chosen cell of the confusion table. @type {{right: string, answered: string} | null} */
  #cell = null;

  /**
   * @param {Desk} desk
   * @param {(result: TestResult) => void} edit Goes to a test in the table where it is edited.
   * @param {(text: string) => void} tryOut Asks the model about the text of a test.
   */
  constructor(desk, edit, tryOut) {
    this.desk = desk;
    this.edit = edit;
    this.run = h("button", { type: "button", class: "button is-primary", "data-do": "run" }, "Run the tests");
    this.stop = h("button", { type: "button", class: "button", "data-do": "stop", hidden: true }, "Stop");
    this.progress = h("progress", { "aria-label": "Measurements done", hidden: true });
    this.count = h("span", { class: "quiet" });
    this.state = h("p", { class: "bench-verdict", role: "status", dir: "auto" });
    this.results = h("div", { class: "bench-results" });
    this.element = h(
      "section",
      { class: "bench-tests", "aria-label": "Tests" },
      h("div", { class: "bench-tools" }, this.run, this.stop, this.progress, this.count),
      this.state,
      this.results,
    );
    onAction(this.element, {
      run: () => void this.#run(),
      stop: () => void desk.ask("stop").catch(() => {}),
      filter: (button) => this.#choose(/** @type {Filter} */ (button.dataset.filter ?? "all")),
      cell: (button) => this.#chooseCell(button.dataset.right ?? "", button.dataset.answered ?? ""),
      edit: (button) => {
        const found = this.#at(button);
        if (found !== undefined) this.edit(found);
      },
      try: (button) => tryOut(this.#at(button)?.input ?? ""),
    });
  }

  /** Another template is shown. */
  begin() {
    this.#filter = "all";
    this.#cell = null;
    this.state.textContent = "";
    this.results.replaceChildren();
    this.update();
  }

  /** @param {HTMLElement} button */
  #at(button) {
    return this.#all().find((one) => one.index === Number(button.dataset.index));
  }

  /** @returns {TestResult[]} */
  #all() {
    if (this.isRunning) return [...this.#running.values()];
    return this.desk.opened?.results ?? [];
  }

  /** Show what is known now. */
  update() {
    const { opened } = this.desk;
    this.run.hidden = this.isRunning || opened?.is_moderator !== true;
    this.stop.hidden = !this.isRunning;
    this.progress.hidden = this.count.hidden = !this.isRunning;
    const all = this.#all();
    if (!this.isRunning && opened !== null) this.state.textContent = summaryOf(all, opened.score);
    const wanted = h("div", { class: "bench-results" }, ...this.#drawn(all));
    morph(this.results, wanted);
  }

  /** @param {TestResult[]} all */
  #drawn(all) {
    const warnings = this.isRunning ? [] : (this.desk.opened?.score?.warnings ?? []);
    const shown = all.filter((one) => this.#isShown(one));
    const drawn = warnings.map((one) => h("p", { class: "bench-warning", dir: "auto" }, one));
    if (all.length === 0) return drawn;
    const labels = all[0]?.probabilities.map(([label]) => label) ?? [];
    return [
      ...drawn,
      labels.length > 0 && confusionTable(labels, all, this.#cell),
      this.#filters(all),
      shown.length === 0 ? h("p", { class: "quiet" }, "None of the tests.") : resultTable(shown, this.#canTry()),
    ];
  }

  /** @param {TestResult[]} all */
  #filters(all) {
    const counts = {
      all: all.length,
      wrong: all.filter((one) => one.is_right === false).length,
      changed: all.filter((one) => one.is_changed).length,
    };
    const names = { all: "All", wrong: "Wrong", changed: "Changed" };
    const buttons = /** @type {Filter[]} */ (["all", "wrong", "changed"]).map((one) =>
      h(
        "button",
        {
          type: "button",
          class: "button bench-filter",
          "data-key": one,
          "data-do": "filter",
          "data-filter": one,
          "aria-pressed": String(this.#cell === null && this.#filter === one),
          "data-note": one === "changed" ? "Answered otherwise than by the published version" : null,
        },
        `${names[one]} (${counts[one]})`,
      ),
    );
    return h("div", { class: "bench-tools", role: "group", "aria-label": "Which tests" }, buttons);
  }

  #canTry() {
    const { opened, state } = this.desk;
    return opened?.is_moderator === true && state?.kind === "complete";
  }

  /** @param {TestResult} one */
  #isShown(one) {
    if (this.#cell !== null) return one.output === this.#cell.right && one.answered === this.#cell.answered;
    if (this.#filter === "wrong") return one.is_right === false;
    return this.#filter !== "changed" || one.is_changed;
  }

  /** @param {Filter} filter */
  #choose(filter) {
    this.#filter = filter;
    this.#cell = null;
    this.update();
  }

  /**
   * @param {string} right
   * @param {string} answered
   */
  #chooseCell(right, answered) {
    const isSame = this.#cell?.right === right && this.#cell.answered === answered;
    this.#cell = isSame ? null : { right, answered };
    this.#filter = "all";
    this.update();
  }

  /** @param {BenchEvent} event */
  heard(event) {
    if (event.op !== "workbench_step" || !this.isRunning) return;
    if (event.row !== undefined) this.#running.set(event.row.index, event.row);
    if (event.progress !== undefined) {
      const [done, all] = event.progress;
      this.progress.max = all;
      this.progress.value = done;
      this.count.textContent = `${done} of ${all}`;
    }
    this.update();
  }

  async #run() {
    const { desk } = this;
    await desk.flush();
    if (desk.saving !== "saved") return;
    this.#running = new Map();
    this.isRunning = true;
    this.progress.value = 0;
    this.count.textContent = "";
    this.state.textContent = "The tests run. You can go on typing.";
    this.update();
    this.stop.focus();
    let problem = "";
    try {
      const { is_stopped } = await desk.ask("test");
      if (is_stopped) problem = "Stopped. What was measured is kept: the next run goes on from here.";
    } catch (error) {
      problem = sentenceOf(error);
      alarm(problem);
    }
    const hadFocus = document.activeElement === this.stop;
    await desk.refresh();
    this.isRunning = false;
    this.update();
    if (hadFocus) this.run.focus();
    if (problem !== "") this.state.textContent = problem;
    speak(this.state.textContent);
  }
}

/**
 * @param {TestResult[]} all
 * @param {TemplateFigures | null} figures
 */
function summaryOf(all, figures) {
  const numTests = figures?.num_tests ?? 0;
  if (numTests === 0) return "There are no tests.";
  if (all.length === 0) return "The tests have not run since the last change.";
  const asked = all.filter((one) => one.is_right !== null);
  const num = asked.filter((one) => one.is_right === true).length;
  const right = asked.length === 0 ? "" : `${num} of ${asked.length} right.`;
  const verdict =
    all.length < numTests ? `${all.length} of ${numTests} tests have run.` : (figures?.verdict_line ?? "");
  return `${right} ${verdict}`.trim();
}

/**
 * @param {TestResult[]} results
 * @param {boolean} canTry Whether the model can be asked about one: what it writes is not kept.
 */
function resultTable(results, canTry) {
  return h(
    "table",
    { class: "result-table" },
    h("caption", { class: "unseen" }, "Results of the tests"),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        ["Test", "Input", "Right answer", "The model"].map((one) => h("th", { scope: "col" }, one)),
      ),
    ),
    h(
      "tbody",
      {},
      results.map((one) => resultRow(one, canTry)),
    ),
  );
}

/**
 * @param {TestResult} one
 * @param {boolean} canTry
 */
function resultRow(one, canTry) {
  const mark = one.is_right === null ? "" : one.is_right ? "right" : "wrong";
  return h(
    "tr",
    { class: `result is-${mark || "open"}`, "data-key": `result ${one.index}` },
    h(
      "th",
      { scope: "row" },
      h(
        "button",
        {
          type: "button",
          class: "link",
          "data-do": "edit",
          "data-index": one.index,
          "aria-label": `Edit test ${one.index + 1}`,
        },
        String(one.index + 1),
      ),
      h("span", { class: "result-mark" }, mark),
    ),
    h("td", { dir: "auto", "data-column": "Input" }, one.input),
    h("td", { dir: "auto", "data-column": "Right answer" }, one.output),
    h(
      "td",
      { "data-column": "The model" },
      answerOf(one),
      changeOf(one),
      canTry &&
        h(
          "button",
          {
            type: "button",
            class: "link",
            "data-do": "try",
            "data-index": one.index,
            "aria-label": `Ask the model about test ${one.index + 1}`,
          },
          "Ask the model",
        ),
    ),
  );
}

/** @param {TestResult} one */
function answerOf(one) {
  if (one.probabilities.length === 0) {
    return h("span", {}, one.bits === null ? "" : `${one.bits.toFixed(1)} bits for the right answer`);
  }
  return h(
    "div",
    { class: "result-bars" },
    one.probabilities.map(([label, share]) =>
      h(
        "div",
        { class: label === one.answered ? "result-bar is-answer" : "result-bar" },
        h("span", { class: "one-line", dir: "auto" }, label),
        h("span", { class: "result-track", "aria-hidden": "true" }, h("span", { "--share": share })),
        h("span", { class: "result-share" }, `${Math.round(share * 100)}%`),
      ),
    ),
  );
}

/** @param {TestResult} one */
function changeOf(one) {
  if (!one.is_changed || one.before === null) return null;
  const before = one.before.answered === "" ? (one.before.is_right ? "right" : "wrong") : one.before.answered;
  return h("p", { class: "quiet", dir: "auto" }, `Published version: ${before}`);
}
