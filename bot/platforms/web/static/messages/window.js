/**
 * Which part of a room's messages is on the page: some hundred at most.
 *
 * @import {Message} from "../wire/types.js"
 * @import {Room} from "../state/room.js"
 */

const PAGE = 50;
const MAX_SHOWN = 300;
const MAX_KEPT = 600;

export class MessageWindow {
  /** The first and the last message shown; null: the newest ones, to the end. @type {Message | null} */
  #first = null;
  /** @type {Message | null} */
  #last = null;

  /** The first message of what was shown last. @type {Message | null} */
  #shownFirst = null;

  /** @param {Room} room */
  constructor(room) {
    this.room = room;
  }

  /** Whether the newest message is shown. */
  get isAtNewest() {
    return this.#last === null;
  }

  /**
   * Return the messages to show. A reader of the newest ones keeps only those; for another nothing goes that is read.
   *
   * @param {boolean} isAtEnd Whether the reader is at the end of the list.
   */
  shown(isAtEnd) {
    const { room } = this;
    if (isAtEnd && this.#last === null) {
      if (this.#end() - this.#start() > MAX_SHOWN) this.#first = null;
      if (room.messages.length > MAX_KEPT) room.trim(MAX_SHOWN);
    } else {
      this.#first ??= this.#shownFirst;
      const last = this.#start() + MAX_SHOWN + PAGE;
      if (this.#end() > last) this.#last = room.messages[last - 1] ?? null;
    }
    const shown = room.messages.slice(this.#start(), this.#end());
    this.#shownFirst = shown[0] ?? null;
    return shown;
  }

  /** Whether there are messages before those shown, here or at the bot. */
  get hasBefore() {
    return this.#start() > 0 || this.room.hasMore;
  }

  /** Whether the messages before those shown must be asked for. */
  get mustLoad() {
    return this.#start() < PAGE && this.room.hasMore;
  }

  growBack() {
    const { messages } = this.room;
    const start = Math.max(0, this.#start() - PAGE);
    const end = Math.min(this.#end(), start + MAX_SHOWN);
    this.#first = messages[start] ?? null;
    this.#last = end < messages.length ? (messages[end - 1] ?? null) : null;
  }

  growForward() {
    const { messages } = this.room;
    const end = Math.min(messages.length, this.#end() + PAGE);
    const start = Math.max(this.#start(), end - MAX_SHOWN);
    this.#first = messages[start] ?? null;
    this.#last = end < messages.length ? (messages[end - 1] ?? null) : null;
  }

  showNewest() {
    this.#first = null;
    this.#last = null;
  }

  /**
   * Show the part around a message; return whether it is here.
   *
   * @param {string} id
   */
  showAround(id) {
    const { messages } = this.room;
    const at = messages.findIndex((one) => one.id === id);
    if (at === -1) return false;
    if (at >= this.#start() && at < this.#end()) return true;
    const end = at + PAGE;
    this.#first = messages[Math.max(0, at - PAGE)] ?? null;
    this.#last = end < messages.length ? (messages[end] ?? null) : null;
    return true;
  }

  #start() {
    const { messages } = this.room;
    return this.#first === null ? Math.max(0, messages.length - 2 * PAGE) : this.room.position(this.#first);
  }

  #end() {
    const { messages } = this.room;
    if (this.#last === null) return messages.length;
    const at = this.room.position(this.#last);
    return messages[at]?.id === this.#last.id ? at + 1 : at;
  }
}
