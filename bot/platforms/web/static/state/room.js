/**
 * The messages of one channel or thread, in order, merged by id and revision. Nothing here draws.
 *
 * @import {Card, Message, MessagePage} from "../wire/types.js"
 */

/**
 * A card that only this window shows, below the message `after` (null: before all).
 *
 * @typedef {{key: string, after: string | null, card: Card}} PrivateCard
 */

/**
 * What a person wrote, until the bot has it. `error` is why it could not be sent.
 *
 * @typedef {{
 *   nonce: string, channel: string, thread: string, text: string, reply_to: string | null,
 *   file: {name: string, text: string} | null, error: string,
 * }} Pending
 */

/**
 * Compare two messages by the time they were written, then by id.
 *
 * @param {{at: string, id: string}} a
 * @param {{at: string, id: string}} b
 */
export function compareMessages(a, b) {
  if (a.at !== b.at) return a.at < b.at ? -1 : 1;
  // Ids are counted: a longer one is later.
  if (a.id.length !== b.id.length) return a.id.length - b.id.length;
  return a.id < b.id ? -1 : Number(a.id > b.id);
}

export class Room {
  /** @type {Message[]} */
  messages = [];
  hasMore = false;
  isLoaded = false;
  isTyping = false;
  /** Why the messages can't be shown. */
  error = "";
  /** @type {PrivateCard[]} */
  privates = [];
  /**
   * What happened since the page was asked for that will replace the messages; null for a removed one.
   *
   * @type {Map<string, Message | null> | null}
   */
  #meanwhile = null;

  /**
   * @param {string} channel
   * @param {string} thread
   */
  constructor(channel, thread) {
    this.channel = channel;
    this.thread = thread;
  }

  /**
   * Return the place of a message in the order, or where it would be.
   *
   * @param {{at: string, id: string}} message
   */
  position(message) {
    let low = 0;
    let high = this.messages.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compareMessages(/** @type {Message} */ (this.messages[middle]), message) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @param {string | null} id */
  find(id) {
    return this.messages.find((one) => one.id === id);
  }

  /** @param {Message} message */
  merge(message) {
    this.#meanwhile?.set(message.id, message);
    this.#insert(message);
  }

  /** @param {string} id */
  remove(id) {
    this.#meanwhile?.set(id, null);
    this.messages = this.messages.filter((one) => one.id !== id);
  }

  /** Note from now on what happens, for `finishReload`. */
  beginReload() {
    this.#meanwhile = new Map();
  }

  /**
   * Replace all messages by what the bot has now: a removed one goes, and events that came since `beginReload` count.
   *
   * @param {MessagePage} page
   */
  finishReload(page) {
    const meanwhile = this.#meanwhile ?? new Map();
    this.#meanwhile = null;
    this.messages = [];
    this.hasMore = page.has_more;
    this.isLoaded = true;
    for (const message of page.messages) if (meanwhile.get(message.id) !== null) this.#insert(message);
    for (const message of meanwhile.values()) if (message !== null) this.#insert(message);
  }

  /**
   * Add the page before the oldest message.
   *
   * @param {MessagePage} page
   */
  addOlder(page) {
    this.hasMore = false;
    for (const message of page.messages) this.#insert(message);
    this.hasMore = page.has_more;
  }

  /**
   * Forget the oldest messages, which can be asked for again.
   *
   * @param {number} numKept
   */
  trim(numKept) {
    if (this.messages.length <= numKept) return;
    this.messages = this.messages.slice(-numKept);
    this.hasMore = true;
  }

  /**
   * Show a private card below `after`, in place of one with the same key.
   *
   * @param {string} key
   * @param {Card} card
   * @param {string | null} after
   */
  showPrivate(key, card, after) {
    const at = this.privates.findIndex((one) => one.key === key);
    if (at === -1) this.privates.push({ key, card, after });
    else this.privates[at] = { .../** @type {PrivateCard} */ (this.privates[at]), card };
  }

  /** @param {string} key */
  dismissPrivate(key) {
    this.privates = this.privates.filter((one) => one.key !== key);
  }

  /** @param {Message} message */
  #insert(message) {
    const known = this.find(message.id);
    if (known !== undefined) {
      if (message.revision > known.revision) this.messages[this.messages.indexOf(known)] = message;
      return;
    }
    const at = this.position(message);
    // A change of a message before the loaded part would leave a gap between them.
    if (at === 0 && this.hasMore && this.messages.length > 0) return;
    this.messages.splice(at, 0, message);
  }
}
