/**
 * The list of a room's messages, with what can be done to each.
 *
 * @import {Message} from "../wire/types.js"
 * @import {Room} from "../state/room.js"
 * @import {Session} from "../state/session.js"
 * @import {Store} from "../state/store.js"
 * @import {CardNote} from "../cards/card.js"
 */
import { cardActions } from "../cards/acting.js";
import { NO_NOTE } from "../cards/card.js";
import { confirm } from "../dialogs/asking.js";
import { h, onAction } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";
import { roving } from "../dom/roving.js";
import { alarm, speak } from "../dom/speaking.js";
import { sentenceOf } from "../state/session.js";
import { cardText, shortText } from "./message.js";
import { Nodes } from "./nodes.js";
import { rowsOf } from "./rows.js";
import { Scrolling } from "./scrolling.js";
import { MessageWindow } from "./window.js";

const NEAR_EDGE_PX = 500;

/**
 * What the list needs from the view around it.
 *
 * @typedef {{
 *   reply: (message: Message) => void,
 *   openThread: (id: string) => void,
 *   takeBack: (text: string) => void,
 *   leave: () => void,
 * }} Around
 */

export class MessageList {
  /** @type {Nodes} */
  #nodes;
  /** @type {Map<string, CardNote>} */
  #notes = new Map();
  /** @type {Room} */
  #room;
  /** @type {MessageWindow} */
  #window;
  /** The message being edited. @type {import("./message.js").Edit | null} */
  #editing = null;
  /** The message that Tab reaches. */
  #active = "";
  #isLoading = false;

  /**
   * @param {Store} store
   * @param {Session} session
   * @param {Around} around
   */
  constructor(store, session, around) {
    this.store = store;
    this.session = session;
    this.around = around;
    this.#room = store.room;
    this.#window = new MessageWindow(this.#room);
    this.list = h("div", { class: "list", role: "log", "aria-live": "off", "aria-label": "Messages" });
    this.#nodes = new Nodes(this.list);
    this.scroller = h("div", { class: "scroller" }, this.list);
    this.toNewest = h(
      "button",
      { type: "button", class: "button to-newest", "data-do": "newest", hidden: true },
      iconOf("down"),
      "Newest messages",
    );
    this.element = h("div", { class: "messages" }, this.scroller, this.toNewest);
    this.scrolling = new Scrolling(this.scroller, this.list);
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    roving(this.list, ".message");
    roving(this.list, ".word", { isHorizontal: true, within: '[role="listbox"]' });
    this.list.addEventListener("focusin", (event) => this.#focused(event));
    this.element.addEventListener("keydown", (event) => this.#pressed(event));
    onAction(this.element, { ...cardActions(session, (element) => this.#shownCard(element)), ...this.#actions() });
  }

  /**
   * Show another room, or the changes of this one.
   *
   * @param {Room} room
   * @param {string} label
   */
  update(room, label) {
    this.list.setAttribute("aria-label", label);
    if (room !== this.#room) {
      this.#room = room;
      this.#window = new MessageWindow(room);
      this.#nodes.clear();
      this.#notes.clear();
      this.#editing = null;
      this.#active = "";
      this.scrolling.isAtEnd = true;
    }
    this.scrolling.hold(() => this.#draw());
    this.#showToNewest();
    if (this.#window.hasBefore) this.#scrolled();
  }

  /** Focus the last message. */
  focusLast() {
    const last = this.list.querySelector(".message:last-of-type");
    if (last instanceof HTMLElement) last.focus();
  }

  /** Go to the newest message. */
  showNewest() {
    this.#window.showNewest();
    this.scrolling.isAtEnd = true;
    this.update(this.#room, this.list.getAttribute("aria-label") ?? "");
  }

  /** Edit the last message that this person wrote; return whether there is one. */
  editLast() {
    const own = this.#room.messages.findLast((one) => one.author.id === this.store.me.id && one.card === null);
    if (own === undefined) return false;
    this.#window.showAround(own.id);
    this.#edit(own);
    return true;
  }

  #draw() {
    const { list, store } = this;
    const shown = this.#window.shown(this.scrolling.isAtEnd);
    const hadFocus = list.contains(document.activeElement);
    // From the composer, Shift+Tab reaches the newest message.
    if (!hadFocus) this.#active = shown.at(-1)?.id ?? "";
    const rows = rowsOf({
      store,
      room: this.#room,
      window: this.#window,
      shown,
      active: this.#active,
      editing: this.#editing,
      noteOf: (key) => this.#notes.get(key) ?? NO_NOTE,
    });
    this.#nodes.show(rows, this.#active);
    // Whoever was at a button that went goes on at its message, and at the composer if that went too.
    if (!hadFocus || list.contains(document.activeElement)) return;
    const node = this.#nodes.get(this.#active);
    if (node === undefined) this.around.leave();
    else node.focus({ preventScroll: true });
  }

  /**
   * Return the note of a card that is acted on.
   *
   * @param {string} key
   */
  #noteOf(key) {
    let note = this.#notes.get(key);
    if (note === undefined) {
      note = { busy: "", problem: "" };
      this.#notes.set(key, note);
    }
    return note;
  }

  /** @param {HTMLElement} element */
  #messageAt(element) {
    const id = element.closest("[data-id]")?.getAttribute("data-id") ?? "";
    return this.#room.find(id);
  }

  /** @param {HTMLElement} element */
  #shownCard(element) {
    const { channel, thread } = this.#room;
    const changed = () => this.store.changed("messages");
    const message = this.#messageAt(element);
    if (message?.card)
      return { card: message.card, message: message.id, channel, thread, note: this.#noteOf(message.id), changed };
    const key = element.closest("[data-private]")?.getAttribute("data-private");
    const shown = this.#room.privates.find((one) => one.key === key);
    if (shown === undefined) return null;
    return { card: shown.card, message: null, channel, thread, note: this.#noteOf(`private ${shown.key}`), changed };
  }

  /** @returns {Record<string, (element: HTMLElement) => void>} */
  #actions() {
    /** @param {(message: Message) => void} act */
    const on = (act) => (/** @type {HTMLElement} */ element) => {
      const message = this.#messageAt(element);
      if (message !== undefined) act(message);
    };
    return {
      reply: on((message) => this.around.reply(message)),
      thread: on((message) => this.around.openThread(message.thread || message.id)),
      edit: on((message) => this.#edit(message)),
      remove: on((message) => void this.#remove(message)),
      save: () => void this.#save(),
      leave: () => this.#leaveEditor(),
      jump: (element) => this.#jump(element.dataset.to ?? ""),
      newest: () => this.showNewest(),
      dismiss: (element) => {
        this.#room.dismissPrivate(element.closest("[data-private]")?.getAttribute("data-private") ?? "");
        this.store.changed("messages");
      },
      again: (element) => void this.session.settle(pendingAt(element), true),
      "take-back": (element) => {
        const pending = this.session.settle(pendingAt(element), false);
        if (pending !== undefined) this.around.takeBack(pending.text);
      },
    };
  }

  /** @param {Message} message */
  #edit(message) {
    this.#editing = { id: message.id, draft: message.text, problem: "" };
    this.#active = message.id;
    this.scrolling.hold(() => this.#draw());
    const area = this.#editor();
    if (area === null) return;
    area.addEventListener("input", () => fit(area));
    fit(area);
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }

  #editor() {
    const area = this.list.querySelector(".edit-field");
    return area instanceof HTMLTextAreaElement ? area : null;
  }

  async #save() {
    const area = this.#editor();
    const editing = this.#editing;
    if (area === null || editing === null) return;
    try {
      const edit = { id: editing.id, text: area.value };
      if (edit.text !== editing.draft) await this.session.connection.request("edit", edit);
      this.#leaveEditor();
    } catch (error) {
      editing.problem = sentenceOf(error);
      alarm(editing.problem);
      this.scrolling.hold(() => this.#draw());
    }
  }

  #leaveEditor() {
    this.#editing = null;
    this.scrolling.hold(() => this.#draw());
    this.around.leave();
  }

  /** @param {Message} message */
  async #remove(message) {
    const isSure = await confirm({
      title: "Delete this message?",
      text: shortText(message),
      action: "Delete",
      act: () => this.session.connection.request("remove", { id: message.id }),
    });
    if (isSure) speak("The message is deleted.");
  }

  /** @param {string} id */
  #jump(id) {
    this.#active = id;
    if (!this.#window.showAround(id)) {
      speak("That message is further back. Scroll up to load it.");
      return;
    }
    this.scrolling.isAtEnd = false;
    this.#draw();
    const node = this.#nodes.get(id);
    node?.scrollIntoView({ block: "center" });
    node?.focus({ preventScroll: true });
    node?.classList.add("is-found");
    setTimeout(() => node?.classList.remove("is-found"), 1500);
  }

  #showToNewest() {
    this.toNewest.hidden = this.scrolling.isAtEnd && this.#window.isAtNewest;
  }

  #scrolled() {
    this.#showToNewest();
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    if (scrollTop < NEAR_EDGE_PX && this.#window.hasBefore) void this.#growBack();
    else if (scrollHeight - scrollTop - clientHeight < NEAR_EDGE_PX && !this.#window.isAtNewest) {
      this.#window.growForward();
      this.scrolling.isAtEnd = false;
      this.scrolling.hold(() => this.#draw());
    }
  }

  async #growBack() {
    if (this.#isLoading || !this.#room.isLoaded) return;
    // A short list that is not scrolled needs no more than fills it.
    if (this.scrolling.isAtEnd && this.scroller.scrollHeight > this.scroller.clientHeight + NEAR_EDGE_PX) return;
    this.#isLoading = true;
    const room = this.#room;
    try {
      if (this.#window.mustLoad) await this.session.loadOlder(room);
      if (room === this.#room) {
        this.#window.growBack();
        this.scrolling.hold(() => this.#draw());
      }
    } catch {
      // Without a connection there is nothing older to see; the next scroll asks again.
    } finally {
      this.#isLoading = false;
    }
  }

  /** @param {FocusEvent} event */
  #focused(event) {
    const message = event.target instanceof HTMLElement ? event.target.closest(".message") : null;
    const id = message instanceof HTMLElement ? (message.dataset.key ?? "") : "";
    if (message === null || id === this.#active) return;
    this.#nodes.setActive(id);
    this.#active = id;
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const { target } = event;
    if (!(target instanceof HTMLElement) || event.isComposing) return;
    if (target.matches(".edit-field")) {
      if (event.key === "Enter" && !event.shiftKey) void this.#save();
      else if (event.key === "Escape") this.#leaveEditor();
      else return;
    } else if (event.key === "Escape" && target.closest(".message") !== null) {
      const message = target.closest(".message");
      if (target === message) this.around.leave();
      else if (message instanceof HTMLElement) message.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

/**
 * Say to listeners what a finished message says.
 *
 * @param {Message} message
 */
export function speakMessage(message) {
  const text = message.card === null ? message.text || message.file_name : cardText(message.card);
  speak(`${message.author.name}: ${text}`);
}

/** @param {HTMLElement} element */
function pendingAt(element) {
  return element.closest("[data-pending]")?.getAttribute("data-pending") ?? "";
}

/**
 * Make a text area as high as its text.
 *
 * @param {HTMLTextAreaElement} area
 */
export function fit(area) {
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
}
