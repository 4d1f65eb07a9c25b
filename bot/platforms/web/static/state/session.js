/**
 * What a person does here, as requests, and what the bot says, as changes of the store.
 *
 * @import {
 *   BenchEvent, BotEvent, Card, FormEvent, Message, MessagePage, Offer, Welcome, WritingEvent, WritingsEvent,
 * } from "../wire/types.js"
 * @import {Store} from "./store.js"
 * @import {Pending} from "./room.js"
 */
import { Connection, Disconnected } from "../wire/socket.js";
import { readKept, keep } from "./kept.js";
import { Room } from "./room.js";

const MAX_PAGES_AGAIN = 8;
const TYPING_MS = 10_000;

/**
 * What a click on a card says.
 *
 * @typedef {{
 *   message: string | null, channel: string, thread: string, card: string, revision: number,
 *   action: string, value: string,
 * }} CardClick
 */

export class Session {
  /** Called with a form that the bot opens. @type {(event: FormEvent) => void} */
  onForm = () => {};
  /** Called with each finished message as it arrives. @type {(message: Message) => void} */
  onFinished = () => {};
  /** Called when another window changed a written text. @type {(event: WritingEvent | WritingsEvent) => void} */
  onWriting = () => {};
  /** Called before another person speaks here: what this one typed is stored first. @type {() => Promise<unknown>} */
  beforeBecoming = () => Promise.resolve();
  /** Called with what happens to templates. @type {(event: BenchEvent) => void} */
  onWorkbench = () => {};
  /** Which message was clicked last, for the private card that follows. @type {CardClick | null} */
  #clicked = null;
  /** How often a place was opened; an answer for an earlier one is dropped. */
  #visit = 0;

  /** @param {Store} store */
  constructor(store) {
    this.store = store;
    const address = new URL("/socket", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    this.connection = new Connection(address.href, {
      welcomed: (welcome) => void this.#welcomed(welcome),
      heard: (event) => this.#heard(event),
      changed: (state) => {
        store.connection = state;
        if (state === "refused") this.#failPending("This was too much at once, so the bot closed the connection.");
        store.changed("connection");
      },
    });
    store.pending = readPending();
  }

  /** @param {Welcome} welcome */
  async #welcomed(welcome) {
    const { store } = this;
    store.people = welcome.people;
    store.me = welcome.me;
    store.botName = welcome.bot_name;
    store.model = welcome.model;
    store.servers = welcome.servers;
    store.commands = welcome.commands;
    store.maxTextBytes = welcome.max_text_bytes;
    // A new connection speaks as somebody else at first.
    const wanted = welcome.people.find((one) => one.id === readKept("person"));
    if (wanted !== undefined && wanted.id !== welcome.me.id) {
      await this.connection.request("become", { id: wanted.id }).then(
        () => (store.me = wanted),
        () => keep("person", ""),
      );
    }
    const wasWelcome = store.isWelcome;
    store.isWelcome = true;
    store.changed("connection", "me", "people", "places", "place");
    if (wasWelcome) await this.reopen();
  }

  /** @param {BotEvent} event */
  #heard(event) {
    const { store } = this;
    switch (event.op) {
      case "message":
        // What is being sent makes place for what came back, at once.
        store.pending = store.pending.filter((one) => `${store.me.id}.${one.nonce}` !== event.nonce);
        this.#merge(event.message);
        break;
      case "removed":
        store.room.remove(event.id);
        store.threadRoom?.remove(event.id);
        store.changed("messages");
        break;
      case "private":
        this.#showPrivate(event.channel, event.thread, event.key, event.card);
        break;
      case "form":
        this.onForm(event);
        break;
      case "writing":
      case "writings":
        this.onWriting(event);
        break;
      case "typing": {
        const room = store.roomOf(event.channel, event.thread);
        if (room !== null) this.#showTyping(room, event.is_typing);
        break;
      }
      case "places":
        store.servers = event.servers;
        store.changed("places");
        break;
      case "people":
        store.people = event.people;
        store.me = event.people.find((one) => one.id === store.me.id) ?? store.me;
        store.changed("people", "me");
        break;
      default:
        this.onWorkbench(event);
    }
  }

  /** @param {Message} message */
  #merge(message) {
    const { store } = this;
    const isOpen = message.channel === store.room.channel;
    if (!isOpen) return;
    // The message that a thread hangs on is shown in both.
    if (message.thread === "") store.room.merge(message);
    const { threadRoom } = store;
    if (threadRoom !== null && [message.thread, message.id].includes(threadRoom.thread)) threadRoom.merge(message);
    const room = store.roomOf(message.channel, message.thread);
    if (room !== null && message.author.is_bot) this.#showTyping(room, false);
    if (message.card === null || message.card.is_final) this.onFinished(message);
    store.changed("messages");
  }

  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #typingTimer = undefined;

  /**
   * @param {Room} room
   * @param {boolean} isTyping
   */
  #showTyping(room, isTyping) {
    room.isTyping = isTyping;
    clearTimeout(this.#typingTimer);
    // Nobody says that it ended when the bot stops.
    if (isTyping) this.#typingTimer = setTimeout(() => this.#showTyping(room, false), TYPING_MS);
    this.store.changed("messages");
  }

  /**
   * @param {string} channel
   * @param {string} thread
   * @param {string} key
   * @param {Card} card
   */
  #showPrivate(channel, thread, key, card) {
    const room = this.store.roomOf(channel, thread);
    if (room === null) return;
    const clicked =
      this.#clicked?.channel === channel && this.#clicked.thread === thread ? this.#clicked.message : null;
    room.showPrivate(key, card, clicked ?? room.messages.at(-1)?.id ?? null);
    this.store.changed("messages");
  }

  /**
   * Show a channel, with a thread of it beside ("" none).
   *
   * @param {string} channel
   * @param {string} thread
   */
  async open(channel, thread) {
    const { store } = this;
    if (store.room.channel !== channel) store.room = new Room(channel, "");
    const threadBefore = store.threadRoom;
    if (thread === "") store.threadRoom = null;
    else if (threadBefore?.thread !== thread || threadBefore.channel !== channel) {
      store.threadRoom = new Room(channel, thread);
    }
    store.changed("place", "messages");
    await this.reopen();
  }

  /** Ask again for what is open: after the connection was lost, or to begin. */
  async reopen() {
    const visit = ++this.#visit;
    const { room, threadRoom } = this.store;
    if (room.channel === "") return;
    try {
      await this.#reload(room);
      if (threadRoom !== null && visit === this.#visit) await this.#reload(threadRoom);
    } catch (error) {
      if (error instanceof Disconnected) return; // The next connection opens it again.
      (threadRoom !== null && room.isLoaded ? threadRoom : room).error = sentenceOf(error);
    } finally {
      this.store.changed("messages");
    }
    if (visit === this.#visit) this.flushPending();
  }

  /** @param {Room} room */
  async #reload(room) {
    const oldest = room.messages[0];
    room.beginReload();
    const page = await this.#page(room, null);
    // What was shown stays shown, up to a bound, but as it is now.
    for (let i = 0; i < MAX_PAGES_AGAIN && page.has_more && oldest !== undefined; i++) {
      const first = page.messages[0];
      if (first === undefined || first.at <= oldest.at) break;
      const older = await this.#page(room, first.id);
      page.messages = [...older.messages, ...page.messages];
      page.has_more = older.has_more;
    }
    room.finishReload(page);
    room.error = "";
    this.store.changed("messages");
  }

  /**
   * @param {Room} room
   * @param {string | null} before
   * @returns {Promise<MessagePage>}
   */
  #page(room, before) {
    return this.connection.request("open", { channel: room.channel, thread: room.thread, before });
  }

  /**
   * Load the messages before the oldest one of an open room.
   *
   * @param {Room} room
   */
  async loadOlder(room) {
    const first = room.messages.find((one) => one.id !== room.thread);
    if (!room.hasMore || first === undefined) return;
    room.addOlder(await this.#page(room, first.id));
    this.store.changed("messages");
  }

  /**
   * Say something. It is shown as pending until the bot has it, and sent again after a lost connection.
   *
   * @param {Pick<Pending, "channel" | "thread" | "text" | "reply_to" | "file">} said
   */
  say(said) {
    this.#clicked = null;
    this.store.pending.push({ ...said, nonce: newNonce(), error: "" });
    this.flushPending();
  }

  /** Send what waits, in order. */
  flushPending() {
    const { store } = this;
    keepPending(store.pending);
    for (const one of store.pending) if (one.error === "") void this.#send(one);
    store.changed("messages");
  }

  /** @type {Set<Pending>} */
  #sending = new Set();

  /** @param {Pending} pending */
  async #send(pending) {
    if (this.#sending.has(pending)) return;
    this.#sending.add(pending);
    const { channel, thread, text, reply_to, nonce, file } = pending;
    try {
      await this.connection.request("say", { channel, thread, text, reply_to, nonce, file });
      // The message has come by now, unless only its answer is shown.
      this.store.pending = this.store.pending.filter((one) => one !== pending);
    } catch (error) {
      // Without a connection it waits for the next one: the bot knows it by its nonce.
      if (!(error instanceof Disconnected)) pending.error = sentenceOf(error);
    } finally {
      this.#sending.delete(pending);
      keepPending(this.store.pending);
      this.store.changed("messages");
    }
  }

  /**
   * Try again to send what was refused, or forget it.
   *
   * @param {string} nonce
   * @param {boolean} isTriedAgain
   * @returns {Pending | undefined} What it was.
   */
  settle(nonce, isTriedAgain) {
    const { store } = this;
    const found = store.pending.find((one) => one.nonce === nonce);
    if (found !== undefined && isTriedAgain) found.error = "";
    else store.pending = store.pending.filter((one) => one !== found);
    this.flushPending();
    return found;
  }

  /** @param {string} sentence */
  #failPending(sentence) {
    for (const one of this.store.pending) one.error ||= sentence;
    this.store.changed("messages");
  }

  /** @param {CardClick} click */
  async click(click) {
    this.#clicked = click;
    await this.connection.request("click", { ...click });
  }

  /**
   * Speak as this person from now on.
   *
   * @param {string} id
   */
  async become(id) {
    await this.beforeBecoming();
    await this.connection.request("become", { id });
    keep("person", id);
    this.store.me = this.store.people.find((one) => one.id === id) ?? this.store.me;
    this.store.changed("me", "people", "places", "messages");
    await this.reopen();
  }

  /**
   * Return what may follow in a command line (without its sign).
   *
   * @param {string} channel
   * @param {string} line
   * @returns {Promise<{values: Offer[], start: number, help: string}>} `start` counts characters as JavaScript does.
   */
  async expect(channel, line) {
    const answer = await this.connection.request("expect", { channel, line });
    return {
      values: answer.offers,
      // The bot counts characters, JavaScript halves of some.
      start: [...line].slice(0, answer.start).join("").length,
      help: answer.help ?? "",
    };
  }
}

/**
 * Return what a person is told of an error.
 *
 * @param {unknown} error
 */
export function sentenceOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/** Return a random text, also where the page is not served as securely as `randomUUID` wants it. */
function newNonce() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");
}

/** @returns {Pending[]} */
function readPending() {
  try {
    return JSON.parse(readKept("pending") || "[]");
  } catch {
    return [];
  }
}

/** @param {Pending[]} pending */
function keepPending(pending) {
  keep("pending", pending.length === 0 ? "" : JSON.stringify(pending));
}
