/**
 * The branches of the open text, as a tree that can be walked, named and pruned.
 *
 * What goes on from a branch alone is shown below it, at its level; where a text goes on in several ways, or leaves a
 * branch at a word that was replaced, each way is a level deeper. So a long text that never forked is a list, not a
 * staircase.
 *
 * @import {Branch, Writing} from "../wire/types.js"
 */
import { h, morph, onAction } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";
import { makeStop, roving } from "../dom/roving.js";

const MAX_SHOWN = 120;

/**
 * What can be done with a branch.
 *
 * @typedef {{
 *   go: (id: number) => void, name: (branch: Branch) => void, prune: (branch: Branch) => void, undo: () => void,
 *   save: (format: "txt" | "json") => void,
 * }} BranchActions
 */

export class Branches {
  /** @type {Writing | null} */
  #writing = null;

  /** @param {BranchActions} actions */
  constructor(actions) {
    this.actions = actions;
    this.state = h("p", { class: "quiet" });
    this.tree = h("div", { class: "branches", role: "tree", "aria-labelledby": "branches-title" });
    this.name = toolButton("name", "edit", "Name");
    this.prune = toolButton("prune", "remove", "Prune");
    this.undo = toolButton("undo", "undo", "Undo");
    this.buttons = h(
      "div",
      { class: "tool-buttons" },
      this.name,
      this.prune,
      this.undo,
      toolButton("txt", "download", ".txt", "Save this text as a .txt file"),
      toolButton("json", "download", ".json", "Save all branches as a .json file"),
    );
    this.help = h(
      "p",
      { class: "quiet tool-help" },
      "Enter: go there · F2: name · Delete: prune, with all that follows",
    );
    this.element = h(
      "section",
      { class: "tool", "aria-labelledby": "branches-title" },
      h("h3", { id: "branches-title" }, "Branches"),
      this.state,
      this.tree,
      this.help,
      this.buttons,
    );
    roving(this.tree, '[role="treeitem"]');
    this.tree.addEventListener("keydown", (event) => this.#pressed(event));
    this.tree.addEventListener("focusin", () => this.#mark());
    onAction(this.element, {
      go: (element) => actions.go(Number(element.dataset.id)),
      name: () => this.#withChosen(actions.name),
      prune: () => this.#withChosen(actions.prune),
      undo: () => actions.undo(),
      txt: () => actions.save("txt"),
      json: () => actions.save("json"),
    });
    this.show(null, "");
  }

  /**
   * @param {Writing | null} writing
   * @param {string} refusal Why there are no branches, "" if there can be.
   */
  show(writing, refusal) {
    const isMoved = writing?.at !== this.#writing?.at || writing?.id !== this.#writing?.id;
    this.#writing = writing;
    const branches = writing?.branches ?? [];
    this.tree.hidden = branches.length === 0;
    this.help.hidden = branches.length === 0;
    this.buttons.hidden = writing === null;
    this.state.hidden = branches.length > 0;
    this.state.textContent = refusal === "" ? "What you write, take and choose shows here." : "";
    const shown = h("div", {}, itemsOf(branches, writing?.at ?? 0));
    for (const { name, value } of this.tree.attributes) shown.setAttribute(name, value);
    const stop = this.#stop?.dataset.id;
    const hadFocus = this.tree.contains(document.activeElement);
    morph(this.tree, shown);
    const wanted = isMoved || !this.tree.contains(document.activeElement) ? String(writing?.at) : stop;
    makeStop(this.tree, '[role="treeitem"]', this.tree.querySelector(`[data-id="${wanted}"]`));
    this.#mark();
    // The branch that had the focus may be pruned.
    if (hadFocus && !this.tree.contains(document.activeElement)) this.#stop?.focus();
    if (isMoved) this.#scrollTo(this.tree.querySelector('[aria-current="true"]'));
  }

  /** @returns {HTMLElement | null} What Tab reaches, which the buttons are about. */
  get #stop() {
    return this.tree.querySelector('[tabindex="0"]');
  }

  /** @param {HTMLElement | null} item Shown by the tree alone: the column stays where it is. */
  #scrollTo(item) {
    if (item === null) return;
    const { tree } = this;
    const top = item.offsetTop - tree.offsetTop;
    const lowest = top + item.offsetHeight - tree.clientHeight;
    tree.scrollTop = Math.max(lowest, Math.min(top, tree.scrollTop));
  }

  /** Mark what the buttons are about. */
  #mark() {
    const stop = this.#stop;
    for (const item of this.tree.children) item.setAttribute("aria-selected", String(item === stop));
    for (const button of [this.name, this.prune]) button.setAttribute("aria-disabled", String(stop === null));
    this.undo.setAttribute("aria-disabled", String(this.#writing?.can_undo !== true));
  }

  /** @param {(branch: Branch) => void} act */
  #withChosen(act) {
    const branch = this.#branch(Number(this.#stop?.dataset.id));
    if (branch !== undefined) act(branch);
  }

  /** @param {number} id */
  #branch(id) {
    return this.#writing?.branches.find((one) => one.id === id);
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const item = event.target instanceof HTMLElement ? event.target.closest('[role="treeitem"]') : null;
    const branch = item instanceof HTMLElement ? this.#branch(Number(item.dataset.id)) : undefined;
    if (branch === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    const child = this.#writing?.branches.find((one) => one.parent === branch.id);
    if (event.key === "Enter" || event.key === " ") this.actions.go(branch.id);
    else if (event.key === "F2") this.actions.name(branch);
    else if (event.key === "Delete") this.actions.prune(branch);
    else if (event.key === "ArrowLeft") this.#focus(branch.parent);
    else if (event.key === "ArrowRight" && child !== undefined) this.#focus(child.id);
    else return;
    event.preventDefault();
  }

  /** @param {number} id */
  #focus(id) {
    const item = this.tree.querySelector(`[data-id="${id}"]`);
    if (item instanceof HTMLElement) item.focus();
  }
}

/**
 * @param {Branch[]} branches Each before what goes on from it.
 * @param {number} at
 */
function itemsOf(branches, at) {
  /** @type {Map<number, number>} */
  const numChildren = new Map();
  for (const { parent } of branches) numChildren.set(parent, (numChildren.get(parent) ?? 0) + 1);
  const onPath = pathTo(branches, at);
  /** @type {Map<number, number>} */
  const levels = new Map([[0, 1]]);
  return branches.map((branch) => {
    const isOneOfMany = (numChildren.get(branch.parent) ?? 0) > 1 || branch.instead_of !== "";
    const isFork = branch.parent !== 0 && isOneOfMany;
    const level = (levels.get(branch.parent) ?? 1) + (isFork ? 1 : 0);
    levels.set(branch.id, level);
    return itemOf(branch, level, { isFork, isHere: branch.id === at, isOnPath: onPath.has(branch.id) });
  });
}

/**
 * Return the branches that the text consists of.
 *
 * @param {Branch[]} branches
 * @param {number} at
 */
function pathTo(branches, at) {
  const parents = new Map(branches.map((one) => [one.id, one.parent]));
  /** @type {Set<number>} */
  const found = new Set();
  for (let id = at; id !== 0 && !found.has(id); id = parents.get(id) ?? 0) found.add(id);
  return found;
}

/**
 * @param {Branch} branch
 * @param {number} level
 * @param {{isFork: boolean, isHere: boolean, isOnPath: boolean}} how
 */
function itemOf(branch, level, { isFork, isHere, isOnPath }) {
  const text = branch.text.trim().replace(/\s+/g, " ").slice(0, MAX_SHOWN) || "…";
  const from = branch.instead_of.trim();
  const who = branch.is_model ? "by the model" : from === "" ? "by you" : `instead of “${from.slice(0, 30)}”`;
  return h(
    "div",
    {
      class: `branch${isFork ? " is-fork" : ""}${isOnPath ? " is-on-path" : ""}`,
      role: "treeitem",
      tabindex: -1,
      "aria-level": level,
      "aria-current": isHere ? "true" : null,
      "aria-selected": "false",
      "--level": Math.min(level, 8) - 1,
      "data-key": branch.id,
      "data-id": branch.id,
      "data-do": "go",
    },
    branch.name !== "" && h("b", { class: "one-line", dir: "auto" }, branch.name),
    h("span", { class: branch.is_model ? "branch-text is-model" : "branch-text", dir: "auto" }, text),
    h("small", { class: "quiet" }, isHere ? `${who} · here` : who),
  );
}

/**
 * @param {string} action
 * @param {import("../dom/icons.js").IconName} icon
 * @param {string} label
 * @param {string} [note]
 */
function toolButton(action, icon, label, note) {
  return h(
    "button",
    {
      type: "button",
      class: "button is-small",
      "data-do": action,
      "data-note": note ?? null,
      "aria-label": note ?? null,
    },
    iconOf(icon),
    label,
  );
}
