/**
 * The header of Write: which text is open, and what can be done with it.
 *
 * @import {IconName} from "../dom/icons.js"
 * @import {MenuItem} from "../dom/menu.js"
 * @import {Writings} from "./writings.js"
 */
import { askName, confirm } from "../dialogs/asking.js";
import { download } from "../cards/acting.js";
import { h } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";
import { openMenu } from "../dom/menu.js";
import { shortTimeOf } from "../messages/times.js";

const UNNAMED = "A new text";

export class Header {
  /**
   * @param {Writings} writings
   * @param {HTMLElement} menu The button that opens the servers on a narrow window.
   * @param {(act: () => Promise<unknown>) => void} run Runs what may fail.
   * @param {() => void} opened Called after another text was chosen.
   */
  constructor(writings, menu, run, opened) {
    this.writings = writings;
    this.run = run;
    this.opened = opened;
    this.name = h("bdi", { class: "one-line" }, UNNAMED);
    this.texts = h(
      "button",
      { type: "button", class: "write-name", "data-do": "texts", "aria-haspopup": "menu", "aria-expanded": "false" },
      h("span", { class: "unseen" }, "Your texts: "),
      this.name,
      iconOf("down"),
    );
    this.tint = labelled("tint", "tint", "Tint");
    this.tint.setAttribute("aria-pressed", "false");
    this.tools = iconButton("tools", "branches", "Word, sampling and branches");
    this.tools.setAttribute("aria-pressed", "false");
    this.element = h(
      "header",
      { class: "head write-head" },
      menu,
      h("h1", { class: "unseen" }, "Write"),
      this.texts,
      labelled("continue", "write", "Continue"),
      this.tint,
      labelled("all", "columns", "Show me all"),
      iconButton("save", "download", "Save as a file"),
      this.tools,
    );
  }

  /** @returns {Record<string, (element: HTMLElement) => void>} */
  get actions() {
    return {
      texts: (element) => openMenu(element, "Your texts", this.#texts()),
      save: (element) => openMenu(element, "Save as a file", this.#files()),
    };
  }

  draw() {
    const { current, isStored } = this.writings;
    const name = current?.name || UNNAMED;
    if (this.name.textContent !== name) this.name.textContent = name;
    this.texts.hidden = !isStored;
  }

  /** @param {"txt" | "json"} format */
  save(format) {
    this.run(async () => {
      const file = await this.writings.export(format);
      download(file.name, file.text);
    });
  }

  /** @param {() => Promise<unknown>} open */
  #choose(open) {
    this.run(() => open().then(this.opened));
  }

  /** @returns {MenuItem[]} */
  #texts() {
    const { writings } = this;
    const { current } = writings;
    /** @type {MenuItem[]} */
    const items = writings.list.map((one) => ({
      label: one.id === current?.id ? current.name || one.name : one.name,
      help: helpOf(one),
      isChosen: one.id === current?.id,
      choose: () => this.#choose(() => writings.open(one.id)),
    }));
    items.push({
      label: "New text",
      icon: "add",
      startsGroup: items.length > 0,
      choose: () => this.#choose(() => writings.begin()),
    });
    if (current === null) return items;
    items.push({ label: "Rename …", icon: "edit", choose: () => void this.#rename(current.name) });
    items.push({ label: "Remove …", icon: "remove", isDanger: true, choose: () => void this.#remove(current.name) });
    return items;
  }

  /** @returns {MenuItem[]} */
  #files() {
    /** @type {MenuItem[]} */
    const items = [{ label: "This text (.txt)", icon: "file", choose: () => this.save("txt") }];
    if (this.writings.isStored)
      items.push({ label: "All branches (.json)", icon: "branches", choose: () => this.save("json") });
    return items;
  }

  /** @param {string} name */
  #rename(name) {
    const act = (/** @type {string} */ wanted) => this.writings.rename(wanted);
    return askName({ title: "Rename the text", label: "Name", value: name, action: "Rename", act });
  }

  /** @param {string} name */
  async #remove(name) {
    const text = `“${name}” and all its branches are erased. This can’t be undone.`;
    const act = () => this.writings.remove();
    if (await confirm({ title: "Remove the text?", text, action: "Remove", act })) this.opened();
  }
}

/** @param {{num_branches: number, changed_at: string}} entry */
function helpOf({ num_branches, changed_at }) {
  return `${num_branches} ${num_branches === 1 ? "branch" : "branches"} · ${shortTimeOf(changed_at)}`;
}

/**
 * @param {string} action
 * @param {IconName} icon
 * @param {string} label On narrow windows only the icon is shown.
 */
function labelled(action, icon, label) {
  return h(
    "button",
    { type: "button", class: "button write-action", "data-do": action },
    iconOf(icon),
    h("span", { class: "write-label" }, label),
  );
}

/**
 * @param {string} action
 * @param {IconName} icon
 * @param {string} label
 */
function iconButton(action, icon, label) {
  return h(
    "button",
    { type: "button", class: "icon-button", "data-do": action, "aria-label": label, "data-note": label },
    iconOf(icon),
  );
}
