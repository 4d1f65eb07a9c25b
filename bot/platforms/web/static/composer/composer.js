/**
 * Where a message is written: drafts, replies, one file, and suggestions while a command is typed.
 *
 * @import {Message} from "../wire/types.js"
 * @import {Session} from "../state/session.js"
 * @import {Store} from "../state/store.js"
 * @import {Offers, TextOffer} from "./offers.js"
 */
import { sizeOf } from "../cards/card.js";
import { h, onAction } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";
import { speak } from "../dom/speaking.js";
import { keep, readKept } from "../state/kept.js";
import { sentenceOf } from "../state/session.js";
import { Extras } from "./extras.js";
import { insertText } from "./inserting.js";
import { readTextFile } from "./files.js";
import { commandOf, commandOffers, expectedOffers, nameOffers, NO_OFFERS } from "./offers.js";
import { Palette } from "./palette.js";

const ASK_AFTER_MS = 70;
const MAX_HEIGHT_PX = 320;

let number = 0;

export class Composer {
  #channel = "";
  #thread = "";
  /** What is suggested. @type {TextOffer[]} */
  #offers = [];
  /** Counts what was typed, to drop answers that come too late. */
  #typed = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;

  /**
   * @param {Store} store
   * @param {Session} session
   * @param {{editLast: () => boolean, toMessages: () => void, sent: () => void}} around
   */
  constructor(store, session, around) {
    this.store = store;
    this.session = session;
    this.around = around;
    const id = `composer-${++number}`;
    this.palette = new Palette(`${id}-palette`);
    this.area = h("textarea", {
      class: "composer-text",
      rows: 1,
      dir: "auto",
      "aria-label": "Message",
      "aria-autocomplete": "list",
      "aria-haspopup": "listbox",
      "aria-controls": this.palette.id,
      "aria-describedby": `${id}-hint`,
    });
    this.hint = h("p", { class: "composer-hint quiet", id: `${id}-hint`, role: "status" });
    this.extras = new Extras();
    this.picker = h("input", { type: "file", hidden: true, accept: "text/*,.txt,.csv,.jsonl,.json,.prompt,.md" });
    this.element = h(
      "form",
      { class: "composer" },
      this.palette.element,
      this.extras.element,
      h(
        "div",
        { class: "composer-row" },
        h(
          "button",
          {
            type: "button",
            class: "icon-button",
            "data-do": "attach",
            "aria-label": "Attach a text file",
            "data-note": "Attach a text file",
          },
          iconOf("attach"),
        ),
        this.area,
        h(
          "button",
          { type: "submit", class: "icon-button send", "aria-label": "Send", "data-note": "Send" },
          iconOf("send"),
        ),
      ),
      this.hint,
      this.picker,
    );
    this.area.addEventListener("keydown", (event) => this.#pressed(event));
    this.area.addEventListener("input", () => this.#changed());
    this.area.addEventListener("blur", () => this.palette.hide());
    this.area.addEventListener("paste", (event) => this.offered(event, event.clipboardData));
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.picker.addEventListener("change", () => {
      const file = this.picker.files?.[0];
      if (file !== undefined) void this.#attach(file);
      this.picker.value = "";
    });
    onAction(this.element, {
      attach: () => this.picker.click(),
      "no-reply": () => this.replyTo(null),
      "no-file": () => this.extras.set({ file: null }),
    });
  }

  /**
   * Write into this place from now on; what was started elsewhere stays there.
   *
   * @param {string} channel
   * @param {string} thread
   * @param {string} label
   */
  moveTo(channel, thread, label) {
    this.area.setAttribute("aria-label", label);
    this.area.placeholder = label;
    if (channel === this.#channel && thread === this.#thread) return;
    // What was typed before the bot answered for the first time belongs to the first place.
    const isFirst = this.#channel === "";
    const typed = isFirst ? this.area.value : "";
    this.#channel = channel;
    this.#thread = thread;
    this.area.value = typed || readKept(this.#draftKey);
    keep(this.#draftKey, this.area.value);
    if (!isFirst) this.extras.set({ file: null, replyTo: null });
    this.#say("");
    this.palette.hide();
    this.#fit();
  }

  focus() {
    this.area.focus();
  }

  /**
   * Answer a message (null: no longer).
   *
   * @param {Message | null} message
   */
  replyTo(message) {
    this.extras.set({ replyTo: message });
    if (message !== null) this.area.focus();
  }

  /**
   * Put a text back that was not sent.
   *
   * @param {string} text
   */
  takeBack(text) {
    this.area.value = this.area.value === "" ? text : `${text}\n${this.area.value}`;
    this.#changed();
    this.area.focus();
  }

  get #draftKey() {
    return `draft ${this.#channel} ${this.#thread}`;
  }

  /** Return the text up to the caret. */
  get #beforeCaret() {
    return this.area.value.slice(0, this.area.selectionStart);
  }

  /**
   * Take the first of the files that are dropped or pasted.
   *
   * @param {Event} event
   * @param {DataTransfer | null} data
   */
  offered(event, data) {
    const [file, ...others] = data?.files ?? [];
    if (file === undefined) return;
    event.preventDefault();
    void this.#attach(file).then(() => {
      if (others.length > 0) this.#say("One file can be sent with a message; this is the first.");
    });
  }

  /** @param {File} file */
  async #attach(file) {
    try {
      const text = await readTextFile(file, this.store.maxTextBytes);
      this.extras.set({ file: { name: file.name, text } });
      this.#say("");
    } catch (error) {
      this.#say(sentenceOf(error), true);
    }
    this.area.focus();
  }

  #send() {
    const text = this.area.value;
    if (text.trim() === "" && this.extras.file === null) return;
    if (this.#channel === "") {
      this.#say("There is no connection to the bot yet.");
      return;
    }
    const numBytes = new TextEncoder().encode(text).length;
    if (numBytes > this.store.maxTextBytes) {
      this.#say(`The message has ${sizeOf(numBytes)}; at most ${sizeOf(this.store.maxTextBytes)} can be sent.`, true);
      return;
    }
    const said = {
      channel: this.#channel,
      thread: this.#thread,
      text,
      reply_to: this.extras.replyTo?.id ?? null,
      file: this.extras.file,
    };
    this.area.value = "";
    this.#changed();
    this.extras.set({ file: null });
    this.replyTo(null);
    this.#say("");
    this.session.say(said);
    this.around.sent();
  }

  #changed() {
    keep(this.#draftKey, this.area.value);
    this.#fit();
    this.#suggest();
  }

  #fit() {
    const { area } = this;
    area.style.height = "auto";
    area.style.height = `${Math.min(MAX_HEIGHT_PX, area.scrollHeight)}px`;
  }

  #suggest() {
    const typed = ++this.#typed;
    clearTimeout(this.#timer);
    const text = this.#beforeCaret;
    const names = [this.store.botName, ...this.store.people.map((one) => one.name)];
    const known = commandOffers(this.store.usableCommands, text) ?? nameOffers(names, text);
    if (known !== null || !text.startsWith("/") || text.includes("\n")) {
      this.#offer(known ?? NO_OFFERS);
      return;
    }
    // What was offered before and no longer fits would replace what was typed since.
    this.#show(
      this.#offers.filter(({ start, value }) => value.startsWith(text.slice(start))),
      -1,
    );
    // One question at a time, and none for what is typed over at once.
    this.#timer = setTimeout(async () => {
      try {
        const offers = await expectedOffers(this.session, this.#channel, text);
        if (typed === this.#typed) this.#offer(offers);
      } catch {
        if (typed === this.#typed) this.#offer(NO_OFFERS);
      }
    }, ASK_AFTER_MS);
  }

  /** @param {Offers} found */
  #offer({ offers, hint, isFirstChosen }) {
    const isFocused = document.activeElement === this.area;
    this.#show(isFocused ? offers : [], isFirstChosen ? 0 : -1);
    this.#say(hint);
    const { length } = this.#offers;
    if (length > 0) speak(length === 1 ? "1 suggestion" : `${length} suggestions`);
  }

  /**
   * @param {TextOffer[]} offers
   * @param {number} at Which one Enter chooses; -1 none.
   */
  #show(offers, at) {
    this.#offers = offers;
    this.palette.show(
      offers.map((offer) => ({ ...offer, choose: () => this.#take(offer) })),
      at,
    );
    this.#showActive();
  }

  /** @param {TextOffer} offer */
  #take(offer) {
    const { area } = this;
    area.focus();
    area.setSelectionRange(offer.start, area.selectionStart);
    insertText(area, offer.value);
  }

  /** Let the model continue the text of a command. */
  async #continue() {
    const text = this.#beforeCaret;
    const found = commandOf(this.store.usableCommands, text);
    if (found === null || found.rest === "" || found.command.text_name === "") return false;
    const typed = ++this.#typed;
    try {
      const request = { channel: this.#channel, command: found.command.name, option: "text", typed: found.rest };
      const { answer } = this.session.connection.follow("suggest", request, (step) => {
        if (typed === this.#typed) this.#say(step.sentence);
      });
      const { values } = await answer;
      if (typed !== this.#typed) return true;
      const start = text.length - found.rest.length;
      const offers = /** @type {string[]} */ (values).map((value) => ({ value, label: value, help: "", start }));
      this.#offer({
        offers,
        hint: offers.length === 0 ? "The model has no suggestion here." : "",
        isFirstChosen: true,
      });
    } catch (error) {
      this.#say(sentenceOf(error), true);
    }
    return true;
  }

  #showActive() {
    const { activeId } = this.palette;
    if (activeId === "") this.area.removeAttribute("aria-activedescendant");
    else this.area.setAttribute("aria-activedescendant", activeId);
  }

  /**
   * @param {string} sentence
   * @param {boolean} [isProblem]
   */
  #say(sentence, isProblem = false) {
    this.hint.textContent = sentence;
    this.hint.classList.toggle("is-problem", isProblem);
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.isComposing) return;
    if (this.palette.isOpen && this.#pressedInPalette(event)) {
      event.preventDefault();
      return;
    }
    const isEmpty = this.area.value === "";
    const isPlain = !event.shiftKey && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (event.key === "Enter" && isPlain) this.#send();
    else if (event.key === "ArrowUp" && isPlain && isEmpty && this.around.editLast()) void 0;
    else if (event.key === "Tab" && isPlain && this.#canContinue) void this.#continue();
    else if (event.key === "Escape" && this.extras.replyTo !== null) this.replyTo(null);
    else if (event.key === "Escape" && isEmpty) this.around.toMessages();
    else return;
    event.preventDefault();
  }

  get #canContinue() {
    const found = commandOf(this.store.usableCommands, this.#beforeCaret);
    return found !== null && found.rest !== "" && found.command.text_name !== "";
  }

  /** @param {KeyboardEvent} event */
  #pressedInPalette(event) {
    const { palette } = this;
    const isPlain = !event.shiftKey && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (!isPlain) return false;
    if (event.key === "ArrowDown") palette.move(1);
    else if (event.key === "ArrowUp") palette.move(-1);
    else if (event.key === "Escape") palette.hide();
    else if (event.key === "Tab") (palette.active ?? palette.first)?.choose();
    else if (event.key === "Enter" && palette.active !== undefined) palette.active.choose();
    else return false;
    this.#showActive();
    return true;
  }
}
