/**
 * What a message carries besides its text: what it replies to, and one file. Shown above the text.
 *
 * @import {Message} from "../wire/types.js"
 */
import { sizeOf } from "../cards/card.js";
import { h } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";
import { shortText } from "../messages/message.js";

export class Extras {
  /** @type {Message | null} */
  replyTo = null;
  /** @type {{name: string, text: string} | null} */
  file = null;

  constructor() {
    this.element = h("div", { class: "composer-about", hidden: true });
  }

  /** @param {Partial<{replyTo: Message | null, file: {name: string, text: string} | null}>} changes */
  set(changes) {
    Object.assign(this, changes);
    const rows = [];
    const { replyTo, file } = this;
    if (replyTo !== null) {
      const what = ["Reply to ", h("bdi", {}, h("b", {}, replyTo.author.name)), " ", h("bdi", {}, shortText(replyTo))];
      rows.push(row(what, "no-reply", "Don't reply"));
    }
    if (file !== null) {
      const size = sizeOf(new TextEncoder().encode(file.text).length);
      rows.push(row([h("bdi", {}, file.name), ` ${size}`], "no-file", "Remove the file"));
    }
    this.element.hidden = rows.length === 0;
    this.element.replaceChildren(...rows);
  }
}

/**
 * @param {(Node | string)[]} what
 * @param {string} action
 * @param {string} label
 */
function row(what, action, label) {
  const close = { type: "button", class: "icon-button", "data-do": action, "aria-label": label };
  return h("div", { class: "about-row" }, h("span", { class: "one-line" }, what), h("button", close, iconOf("close")));
}

/**
 * Call `take` with what files are dropped anywhere on `view`.
 *
 * @param {HTMLElement} view
 * @param {(event: Event, data: DataTransfer | null) => void} take
 */
export function takeDrops(view, take) {
  view.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    view.classList.add("is-dropping");
  });
  view.addEventListener("dragleave", (event) => {
    const to = event.relatedTarget;
    if (!(to instanceof Node) || !view.contains(to)) view.classList.remove("is-dropping");
  });
  view.addEventListener("drop", (event) => {
    view.classList.remove("is-dropping");
    take(event, event.dataTransfer);
  });
}
