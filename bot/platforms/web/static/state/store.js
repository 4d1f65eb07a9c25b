/**
 * What this window knows, in one place, and who wants to hear of changes.
 *
 * @import {Command, Person, Server} from "../wire/types.js"
 * @import {ConnectionState} from "../wire/socket.js"
 * @import {Pending} from "./room.js"
 */
import { Room } from "./room.js";

/**
 * What changed. Listeners hear of several changes at once, at most once a frame.
 *
 * @typedef {"connection" | "me" | "people" | "places" | "place" | "messages" | "view"} Topic
 */

const HIDDEN_MS = 100;

export class Store {
  /** @type {ConnectionState} */
  connection = "connecting";
  /** Whether the bot ever answered. */
  isWelcome = false;
  /** @type {Person} */
  me = { id: "", name: "", is_moderator: false };
  /** @type {Person[]} */
  people = [];
  botName = "Fewshot";
  model = "";
  /** @type {Server[]} */
  servers = [];
  /** @type {Command[]} */
  commands = [];
  maxTextBytes = 1_000_000;
  /** @type {"chat" | "write" | "look" | "workbench"} */
  view = "chat";
  /** The open channel. */
  room = new Room("", "");
  /** The open thread. @type {Room | null} */
  threadRoom = null;
  /** @type {Pending[]} */
  pending = [];

  /** @type {Set<(topics: Set<Topic>) => void>} */
  #listeners = new Set();
  /** @type {Set<Topic>} */
  #changes = new Set();

  /** @param {(topics: Set<Topic>) => void} listener */
  subscribe(listener) {
    this.#listeners.add(listener);
  }

  /** @param {Topic[]} topics */
  changed(...topics) {
    if (this.#changes.size === 0) {
      // A hidden window gets no frames, but its list must not grow without end.
      if (document.hidden) setTimeout(() => this.#tell(), HIDDEN_MS);
      else requestAnimationFrame(() => this.#tell());
    }
    for (const topic of topics) this.#changes.add(topic);
  }

  #tell() {
    const topics = this.#changes;
    this.#changes = new Set();
    for (const listener of this.#listeners) listener(topics);
  }

  /**
   * Return the open room of a place, if it is open.
   *
   * @param {string} channel
   * @param {string} thread
   */
  roomOf(channel, thread) {
    if (channel !== this.room.channel) return null;
    if (thread === "") return this.room;
    return this.threadRoom?.thread === thread ? this.threadRoom : null;
  }

  /** @param {string} id */
  findChannel(id) {
    for (const server of this.servers) {
      const channel = server.channels.find((one) => one.id === id);
      if (channel !== undefined) return { server, channel };
    }
    return null;
  }

  /** Return the commands that this person may use. */
  get usableCommands() {
    return this.commands.filter((one) => !one.is_for_moderators || this.me.is_moderator);
  }
}
