/**
 * The view to look into the model: it measures while you type, and nothing of it is stored.
 *
 * @import {Measured} from "./measuring.js"
 * @import {Mode} from "./modes.js"
 * @import {Session} from "../state/session.js"
 * @import {Store} from "../state/store.js"
 */
import { download, downloadBlob } from "../cards/acting.js";
import { h, onAction } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";
import { roving } from "../dom/roving.js";
import { alarm, speak } from "../dom/speaking.js";
import { channelAddress } from "../state/route.js";
import { sentenceOf } from "../state/session.js";
import { channelOf, Measuring } from "./measuring.js";
import { nextWords, oneText, twoTexts } from "./modes.js";

const EMPTY = "Type, and see what the model thinks. Nothing of it is stored.";

export class Look {
  /**
   * @param {Store} store
   * @param {Session} session
   * @param {HTMLElement} menu The button that opens the servers on a narrow window.
   */
  constructor(store, session, menu) {
    this.store = store;
    this.session = session;
    /** @type {Mode[]} */
    this.modes = [oneText(), twoTexts(), nextWords()];
    this.mode = /** @type {Mode} */ (this.modes[0]);
    this.result = h("div", { class: "look-result", id: "look-result" });
    this.state = h("p", { class: "quiet look-state", role: "status" }, EMPTY);
    this.measuring = new Measuring(
      store,
      session,
      (measured, problem) => this.#show(measured, problem),
      (isBusy) => this.#wait(isBusy),
    );
    this.tabs = h(
      "div",
      { class: "tabs", role: "tablist", "aria-label": "What to look at" },
      this.modes.map((mode) =>
        h(
          "button",
          {
            type: "button",
            role: "tab",
            class: "tab",
            id: `tab-${mode.name}`,
            "data-do": "mode",
            "data-mode": mode.name,
          },
          mode.label,
        ),
      ),
    );
    roving(this.tabs, ".tab", { isHorizontal: true });
    this.panel = h("div", { role: "tabpanel", class: "look-panel", id: "look-panel" });
    this.actions = h(
      "div",
      { class: "look-actions", hidden: true },
      actionButton("data", "download", "Save the data"),
      actionButton("copy", "file", "Copy the data"),
      actionButton("picture", "context", "Save the picture"),
      actionButton("post", "send", "Post in the channel"),
    );
    this.element = h(
      "section",
      { class: "view", "aria-label": "Look" },
      h("header", { class: "head" }, menu, h("h1", { class: "head-title" }, "Look")),
      h("div", { class: "look-body" }, this.tabs, this.panel, this.state, this.result, this.actions),
    );
    this.element.addEventListener("input", () => this.#measure());
    onAction(this.element, {
      mode: (element) => this.#choose(element.dataset.mode ?? ""),
      data: () => download(`${this.mode.command}.json`, this.#data()),
      copy: () => void this.#copy(),
      picture: () => void this.#picture(),
      post: () => void this.#post(),
    });
    this.#choose("one");
  }

  /** @param {boolean} isBusy */
  #wait(isBusy) {
    this.result.setAttribute("aria-busy", String(isBusy));
    if (this.measuring.loading === "") return;
    this.state.textContent = this.measuring.loading;
    this.state.hidden = false;
  }

  /** @param {string} name */
  #choose(name) {
    this.mode = this.modes.find((one) => one.name === name) ?? this.mode;
    for (const tab of /** @type {NodeListOf<HTMLElement>} */ (this.tabs.querySelectorAll(".tab"))) {
      const isChosen = tab.dataset.mode === this.mode.name;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.setAttribute("aria-controls", "look-panel");
      tab.tabIndex = isChosen ? 0 : -1;
    }
    this.panel.setAttribute("aria-labelledby", `tab-${this.mode.name}`);
    this.panel.replaceChildren(this.mode.inputs);
    this.#measure();
  }

  #measure() {
    const text = this.mode.text();
    const options = this.mode.options();
    // What begins with a dash is text.
    const line = text === "" ? "" : [this.mode.command, options, "--", text].filter((one) => one !== "").join(" ");
    this.measuring.ask(line);
  }

  /**
   * @param {Measured | null} measured
   * @param {string} problem
   */
  #show(measured, problem) {
    this.actions.hidden = measured === null;
    this.state.hidden = measured !== null;
    this.state.textContent = problem === "" ? EMPTY : problem;
    if (measured === null) {
      this.result.replaceChildren();
      return;
    }
    this.result.replaceChildren(...this.mode.draw(measured).filter((one) => one !== null));
    const [first] = measured.card.blocks;
    if (first?.type === "text") speak(first.text);
  }

  #data() {
    return `${JSON.stringify(this.measuring.last?.data ?? {}, null, 2)}\n`;
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.#data());
      speak("Copied.");
    } catch {
      alarm("This browser does not let the page copy. Save the data instead.");
    }
  }

  /** Let the bot draw what it shows on the chat platforms. */
  async #picture() {
    const { line } = this.measuring;
    try {
      const ask = { channel: channelOf(this.store), thread: "", line, draws: true };
      const { png } = await this.session.connection.request("look", ask);
      const bytes = Uint8Array.from(atob(png), (one) => one.charCodeAt(0));
      downloadBlob(`${this.mode.command}.png`, new Blob([bytes], { type: "image/png" }));
    } catch (error) {
      alarm(sentenceOf(error));
    }
  }

  /** Send the same as a command, so that the channel has the card and its address can be shared. */
  async #post() {
    const channel = channelOf(this.store);
    const line = `/${this.measuring.line}`;
    try {
      const nonce = crypto.randomUUID();
      await this.session.connection.request("say", { channel, thread: "", text: line, nonce });
      location.hash = channelAddress(channel);
    } catch (error) {
      alarm(sentenceOf(error));
    }
  }
}

/**
 * @param {string} action
 * @param {import("../dom/icons.js").IconName} icon
 * @param {string} label
 */
function actionButton(action, icon, label) {
  return h("button", { type: "button", class: "button", "data-do": action }, iconOf(icon), label);
}
