/**
 * The workbench: the list of templates, the one that is edited, its prompt, its tests and its history.
 *
 * @import {BenchEvent, Row, TestResult} from "../wire/types.js"
 * @import {DeskTopic} from "./desk.js"
 * @import {Session} from "../state/session.js"
 * @import {Store, Topic} from "../state/store.js"
 */
import { h, onAction } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";
import { roving } from "../dom/roving.js";
import { readRoute, workbenchAddress } from "../state/route.js";
import { createTemplate, importText, propose, publish, readRows } from "./acting.js";
import { Desk } from "./desk.js";
import { Fields } from "./fields.js";
import { HistoryView } from "./history_view.js";
import { TemplateList } from "./list.js";
import { Notices } from "./notices.js";
import { openTemplateMenu } from "./template_menu.js";
import { button, moreButton, panel, tab } from "./parts.js";
import { PromptView } from "./prompt_view.js";
import { RowTable } from "./rows.js";
import { TestView } from "./test_view.js";

/** @typedef {"write" | "prompt" | "tests" | "history"} TabName */

const TABS = /** @type {const} */ ({ write: "Write", prompt: "Prompt", tests: "Test", history: "History" });
const KEYS = "Enter: next row · Tab: next cell · Alt+↑↓: move a row · Ctrl+Delete: remove it · Shift+Enter: line break";

export class Workbench {
  /** @type {TabName} */
  #tab = "write";
  /** The tab before that of the prompt, which only a narrow window has. @type {TabName} */
  #before = "write";
  /** The template that was opened last. */
  #shown = "";
  element = h("section", { class: "view bench", "aria-label": "Workbench" });
  servers = h("select", { class: "field bench-server", "aria-label": "Server" });
  body = h("div", { class: "bench-body" });
  refusal = h("p", { class: "problem", hidden: true, dir: "auto" });
  welcome = h(
    "div",
    { class: "quiet bench-welcome" },
    h("p", {}, "Choose a template to read and try it."),
    h("p", {}, "It is what the model reads before a text: what to do, a few examples, and how it is asked."),
  );
  /** Whether a template was chosen in the list, or left, by what has the focus. */
  #wasChosen = false;
  editor = h("section", { class: "bench-editor", "aria-label": "Template", hidden: true });
  aside = h("div", { class: "bench-aside" });
  back = h(
    "a",
    { class: "icon-button bench-back", href: "#/workbench", "aria-label": "All templates" },
    iconOf("back"),
  );
  name = h("h2", { class: "one-line", tabindex: -1 });
  about = h("p", { class: "quiet one-line", dir: "auto" });
  keys = h("p", { class: "help" }, KEYS);
  publish = button("publish", "Publish …", "is-primary");
  propose = button("propose", "Propose an example …", "");
  more = moreButton();
  tabs = h(
    "div",
    { class: "tabs", role: "tablist", "aria-label": "Parts of the template" },
    Object.entries(TABS).map(tab),
  );
  panels = { write: panel("write"), prompt: panel("prompt"), tests: panel("tests"), history: panel("history") };

  /**
   * @param {Store} store
   * @param {Session} session
   * @param {HTMLElement} menu The button that opens the servers on a narrow window.
   */
  constructor(store, session, menu) {
    this.store = store;
    this.desk = new Desk(store, session, (topic) => this.#changed(topic));
    session.onWorkbench = (event) => this.#heard(event);
    this.list = new TemplateList(this.desk);
    this.notices = new Notices(this.desk);
    this.fields = new Fields(
      (changes) => this.#typed(changes),
      () => this.#takeLabels(),
    );
    this.examples = this.#rowTable("example", "The model reads them. A few good ones do more than many.");
    this.tests = this.#rowTable("test", "They measure the template. The model never reads them as examples.");
    this.prompt = new PromptView(this.desk);
    this.testing = new TestView(
      this.desk,
      (result) => this.#edit(result),
      (text) => this.#tryOut(text),
    );
    this.history = new HistoryView(this.desk);
    this.#build(menu);
    this.#listen();
  }

  /** @param {HTMLElement} menu */
  #build(menu) {
    const { fields, examples, tests, editor, body } = this;
    this.panels.write.append(fields.element, examples.element, tests.element, this.keys);
    this.panels.tests.append(this.testing.element);
    this.panels.history.append(this.history.element);
    this.aside.append(this.prompt.element);
    roving(this.tabs, ".tab", { isHorizontal: true });
    const names = h("div", { class: "bench-names" }, this.name, this.about);
    editor.append(
      h(
        "div",
        { class: "bench-top" },
        h(
          "div",
          { class: "bench-title" },
          this.back,
          names,
          this.notices.saving,
          this.propose,
          this.publish,
          this.more,
        ),
        this.notices.next,
      ),
      this.notices.others,
      this.tabs,
      ...Object.values(this.panels),
    );
    body.append(this.list.element, this.refusal, this.welcome, editor, this.aside);
    this.element.append(
      h("header", { class: "head" }, menu, h("h1", { class: "head-title" }, "Workbench"), this.servers),
      body,
    );
  }

  #listen() {
    const { desk } = this;
    onAction(this.element, {
      new: () => void createTemplate(desk),
      tab: (element) => this.#choose(/** @type {TabName} */ (element.dataset.tab)),
      publish: () => void publish(desk),
      propose: () => void propose(desk),
      more: (element) => openTemplateMenu(element, desk, (target, rows) => this.#append(target, rows)),
    });
    this.servers.addEventListener("change", () => (location.hash = workbenchAddress(this.servers.value)));
    this.element.addEventListener("dragover", (event) => {
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    });
    this.element.addEventListener("drop", (event) => {
      const file = event.dataTransfer?.files[0];
      if (file === undefined || desk.opened?.is_moderator !== true) return;
      event.preventDefault();
      void importText(desk, (target, rows) => this.#append(target, rows), file);
    });
    new ResizeObserver(() => this.#arrange()).observe(this.body);
  }

  /**
   * @param {"example" | "test"} what
   * @param {string} help
   */
  #rowTable(what, help) {
    const name = what === "example" ? "examples" : "tests";
    return new RowTable(what, help, {
      changed: (rows) => this.#typed({ [name]: rows }),
      read: (text, format) => readRows(this.desk, text, format),
    });
  }

  // ---- what is shown

  /** @param {Set<Topic>} topics */
  update(topics) {
    const { store, desk } = this;
    if (!store.isWelcome) return;
    if (store.view !== "workbench") {
      desk.leave();
      return;
    }
    const route = readRoute();
    const channel = store.findChannel(route.channel) === null ? this.#someChannel() : route.channel;
    if (channel !== route.channel && channel !== "") location.replace(workbenchAddress(channel));
    this.#showServers(channel);
    const isNew = desk.show(channel, channel === route.channel ? route.template : "");
    if (!isNew && topics.has("me")) desk.resume();
  }

  #someChannel() {
    const { store } = this;
    const here = store.findChannel(store.room.channel)?.server;
    const servers = [
      ...(here === undefined || here.is_direct ? [] : [here]),
      ...store.servers.filter((one) => !one.is_direct),
      ...store.servers,
    ];
    return servers.find((one) => one.channels.length > 0)?.channels[0]?.id ?? "";
  }

  /** @param {string} channel */
  #showServers(channel) {
    const servers = this.store.servers.filter((one) => one.channels.length > 0);
    const chosen = this.store.findChannel(channel)?.server;
    this.servers.replaceChildren(
      ...servers.map((one) => {
        const value = one.id === chosen?.id ? channel : one.channels[0]?.id;
        return h("option", { value }, one.name);
      }),
    );
    this.servers.value = channel;
  }

  /** @param {DeskTopic} topic */
  #changed(topic) {
    if (topic === "list") this.list.update();
    else if (topic === "opened") this.#open();
    else if (topic === "joined") this.#showState();
    else if (topic === "about") this.#showAbout();
    else this.notices.update();
  }

  #open() {
    const { desk } = this;
    const { opened } = desk;
    this.editor.hidden = opened === null;
    this.welcome.hidden = desk.name !== "";
    this.refusal.hidden = desk.refusal === "" || opened !== null || desk.name === "";
    this.refusal.textContent = desk.refusal;
    this.body.classList.toggle("has-open", desk.name !== "");
    this.aside.hidden = opened === null;
    if (opened === null) {
      this.#wasChosen = this.list.element.contains(document.activeElement);
      if (desk.name === "") this.#goToList();
      return;
    }
    if (opened.name !== this.#shown) this.#choose("write");
    this.#shown = opened.name;
    this.#showState();
    this.#goToTemplate();
    this.prompt.begin();
    this.testing.begin();
    this.history.begin();
    this.#showAbout();
  }

  /** The focus comes into a template that was made, or whose list is no longer shown. */
  #goToTemplate() {
    const { desk, list, fields, name } = this;
    const { activeElement } = document;
    const isGone = activeElement === null || activeElement === document.body || !activeElement.checkVisibility();
    if (this.#wasChosen && (isGone || activeElement === list.create)) {
      if (desk.opened?.is_moderator === true && desk.state?.description === "") fields.description.focus();
      else name.focus();
    }
    this.#wasChosen = false;
  }

  /** Where the list takes the place of the template, the focus goes there. */
  #goToList() {
    this.#shown = "";
    const { activeElement } = document;
    const isGone = activeElement !== null && activeElement !== document.body && !activeElement.checkVisibility();
    if (isGone) this.list.items.querySelector("a")?.focus();
  }

  /** Show what is typed, where it came from elsewhere. */
  #showState() {
    const { state, opened } = this.desk;
    if (state === null || opened === null) return;
    this.fields.show(state, opened);
    this.#showRows();
    this.prompt.update();
  }

  #showRows() {
    const { state, opened } = this.desk;
    if (state === null || opened === null) return;
    const labels = state.kind === "classify" ? state.labels : [];
    this.examples.show(state.examples, labels, !opened.is_moderator);
    this.tests.show(state.tests, labels, !opened.is_moderator);
  }

  #showAbout() {
    const { desk } = this;
    const { opened } = desk;
    if (opened === null) return;
    const from = opened.number > 0 ? `version ${opened.number}` : opened.is_shipped ? "built-in" : "not published yet";
    this.name.replaceChildren(h("bdi", {}, opened.name));
    this.about.textContent = [from, opened.author].filter((one) => one !== "").join(" · ");
    this.publish.hidden = !opened.is_moderator;
    this.publish.setAttribute("aria-disabled", String(!opened.has_draft || opened.is_same || opened.problem !== ""));
    this.propose.hidden = opened.is_moderator || desk.state?.kind === "chat";
    this.more.hidden = !opened.is_moderator;
    this.keys.hidden = !opened.is_moderator;
    this.notices.update();
    this.testing.update();
    if (this.#tab === "history") void this.history.update();
  }

  // ---- what a person does

  /** @param {Partial<import("../wire/types.js").TemplateState>} changes */
  #typed(changes) {
    this.desk.type(changes);
    if ("kind" in changes) this.#showState();
    else if ("labels" in changes) this.#showRows();
    this.prompt.update();
  }

  /** Make labels of the right answers in the rows. */
  #takeLabels() {
    const { state } = this.desk;
    if (state === null) return;
    const answers = [...state.examples, ...state.tests].map(([, output]) => output.trim());
    this.#typed({ labels: [...new Set([...state.labels, ...answers.filter((one) => one !== "")])] });
    this.#showState();
  }

  /**
   * @param {"examples" | "tests"} target
   * @param {Row[]} rows
   */
  #append(target, rows) {
    this.#choose("write");
    this[target].append(rows);
  }

  /** @param {TestResult} result */
  #edit(result) {
    this.#choose("write");
    const at = this.tests.rows.findIndex((row) => row[0] === result.input);
    this.tests.focus(at < 0 ? result.index : at, 0);
  }

  /** @param {string} text */
  #tryOut(text) {
    void this.prompt.try(text);
    this.#choose("prompt");
    this.prompt.element.scrollIntoView({ block: "nearest" });
  }

  /** @param {TabName} name */
  #choose(name) {
    if (this.#tab !== "prompt") this.#before = this.#tab;
    this.#tab = name;
    this.#arrange();
    if (name === "history") void this.history.update();
  }

  /** Put the prompt beside the text, or where there is no room into a tab. */
  #arrange() {
    const isNarrow = this.body.clientWidth > 0 && this.body.clientWidth < 880;
    if (!isNarrow && this.#tab === "prompt") this.#tab = this.#before;
    const place = isNarrow ? this.panels.prompt : this.aside;
    if (this.prompt.element.parentElement !== place) place.append(this.prompt.element);
    for (const one of /** @type {NodeListOf<HTMLElement>} */ (this.tabs.querySelectorAll(".tab"))) {
      const isChosen = one.dataset.tab === this.#tab;
      one.setAttribute("aria-selected", String(isChosen));
      one.tabIndex = isChosen ? 0 : -1;
      one.hidden = one.dataset.tab === "prompt" && !isNarrow;
    }
    for (const [name, element] of Object.entries(this.panels)) element.hidden = name !== this.#tab;
  }

  /** @param {BenchEvent} event */
  #heard(event) {
    this.desk.heard(event);
    this.testing.heard(event);
  }
}
