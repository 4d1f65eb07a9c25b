/** Changes between two versions of a template, as coloured lines. */
import { h } from "../dom/elements.js";

/** @param {string} diff */
export function drawDiff(diff) {
  const lines = diff.split("\n").map((line) => {
    const kind = line.startsWith("+ ") ? "is-added" : line.startsWith("- ") ? "is-removed" : "";
    // The sign says the same to people who see no colours.
    return h(
      kind === "is-added" ? "ins" : kind === "is-removed" ? "del" : "span",
      { class: `diff-line ${kind}` },
      `${line}\n`,
    );
  });
  return h("pre", { class: "diff", dir: "auto", tabindex: 0, role: "group", "aria-label": "Changes" }, lines);
}
