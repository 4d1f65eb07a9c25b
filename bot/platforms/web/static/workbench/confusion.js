/**
 * Which right labels were answered with which: each cell shows its tests.
 *
 * @import {TestResult} from "../wire/types.js"
 */
import { h } from "../dom/elements.js";

/**
 * @param {string[]} labels
 * @param {TestResult[]} results
 * @param {{right: string, answered: string} | null} chosen
 */
export function confusionTable(labels, results, chosen) {
  const count = (/** @type {string} */ right, /** @type {string} */ answered) =>
    results.filter((one) => one.output === right && one.answered === answered).length;
  return h(
    "div",
    { class: "wide" },
    h(
      "table",
      { class: "confusion" },
      h("caption", {}, "Right answers (rows) and what the model answered (columns)"),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("td", {}),
          labels.map((label) => h("th", { scope: "col", dir: "auto" }, label)),
        ),
      ),
      h(
        "tbody",
        {},
        labels.map((right) =>
          h(
            "tr",
            {},
            h("th", { scope: "row", dir: "auto" }, right),
            labels.map((answered) =>
              h("td", {}, cell(right, answered, count(right, answered), isSame(chosen, right, answered))),
            ),
          ),
        ),
      ),
    ),
  );
}

/**
 * @param {{right: string, answered: string} | null} chosen
 * @param {string} right
 * @param {string} answered
 */
function isSame(chosen, right, answered) {
  return chosen !== null && chosen.right === right && chosen.answered === answered;
}

/**
 * @param {string} right
 * @param {string} answered
 * @param {number} num
 * @param {boolean} isChosen
 */
function cell(right, answered, num, isChosen) {
  if (num === 0) return h("span", { class: "quiet" }, "0");
  return h(
    "button",
    {
      type: "button",
      class: right === answered ? "confused is-right" : "confused",
      "data-do": "cell",
      "data-right": right,
      "data-answered": answered,
      "aria-pressed": String(isChosen),
      "aria-label": `${num} of ${right} answered with ${answered}`,
    },
    String(num),
  );
}
