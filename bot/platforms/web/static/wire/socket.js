/**
 * The connection to the bot: requests with numbers, events, and connecting again after a loss.
 *
 * @import {BotEvent, Welcome} from "./types.js"
 */

const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 5000;
const NOT_LOGGED_IN = 4001;
/** Too many frames, or one that is too large. */
const TOO_MUCH = [4008, 1009];
/** The bot ends a connection over which more comes at once, and the page could not send anything again. */
const MAX_BYTES = 2 * 1024 * 1024;
const TOO_LARGE = "That is too large to send: at most 2 MB. Shorten it.";
/** Frames that are steps of an answer. */
const STEPS = new Set(["continuing", "looking", "loading"]);

/** The bot refused a request; the message is a sentence for the person who acted. */
export class Refused extends Error {}

/** The connection ended before the answer came, or there is none. */
export class Disconnected extends Error {
  constructor() {
    super("There is no connection to the bot. Try again when it is back.");
  }
}

/**
 * "connecting" and "waiting" end by themselves; "locked" and "refused" don't.
 *
 * @typedef {"connecting" | "open" | "waiting" | "locked" | "refused"} ConnectionState
 */

/**
 * @typedef {{
 *   resolve: (answer: any) => void, reject: (error: Error) => void, heard: (step: any) => void,
 * }} Asked
 */

export class Connection {
  /** @type {WebSocket | null} */
  #socket = null;
  #number = 0;
  /** @type {Map<number, Asked>} */
  #asked = new Map();
  #waitMs = FIRST_WAIT_MS;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;

  /**
   * @param {string} address
   * @param {{
   *   welcomed: (welcome: Welcome) => void,
   *   heard: (event: BotEvent) => void,
   *   changed: (state: ConnectionState) => void,
   * }} listener
   */
  constructor(address, listener) {
    this.address = address;
    this.listener = listener;
    /** @type {ConnectionState} */
    this.state = "connecting";
  }

  /** Connect now, also while waiting for the next try. */
  connect() {
    if (this.#socket !== null) return;
    clearTimeout(this.#timer);
    this.#change("connecting");
    const socket = new WebSocket(this.address);
    this.#socket = socket;
    socket.addEventListener("open", () => this.#greet());
    socket.addEventListener("message", (event) => this.#read(event.data));
    socket.addEventListener("close", (event) => this.#closed(event.code));
  }

  /**
   * Send a request; return the fields of its answer.
   *
   * @param {string} op
   * @param {Record<string, unknown>} [fields]
   * @returns {Promise<any>} Rejects with Refused or Disconnected.
   */
  request(op, fields = {}) {
    return this.follow(op, fields, () => {}).answer;
  }

  /**
   * Send a request whose answer is written in steps; `n` is its number, by which it is stopped.
   *
   * @param {string} op
   * @param {Record<string, unknown>} fields
   * @param {(step: any) => void} heard Called with the frame of each step.
   * @returns {{n: number, answer: Promise<any>}} The answer rejects with Refused or Disconnected.
   */
  follow(op, fields, heard) {
    if (this.state !== "open") return { n: 0, answer: Promise.reject(new Disconnected()) };
    const answer = this.#ask(op, fields, heard);
    return { n: this.#number, answer };
  }

  /**
   * @param {string} op
   * @param {Record<string, unknown>} fields
   * @param {(step: any) => void} [heard]
   * @returns {Promise<any>}
   */
  #ask(op, fields, heard = () => {}) {
    const socket = this.#socket;
    if (socket === null || socket.readyState !== WebSocket.OPEN) return Promise.reject(new Disconnected());
    const n = ++this.#number;
    const frame = JSON.stringify({ op, n, ...fields });
    if (isTooLarge(frame)) return Promise.reject(new Refused(TOO_LARGE));
    return new Promise((resolve, reject) => {
      this.#asked.set(n, { resolve, reject, heard });
      socket.send(frame);
    });
  }

  async #greet() {
    try {
      const welcome = await this.#ask("hello", {});
      this.#waitMs = FIRST_WAIT_MS;
      this.#change("open");
      this.listener.welcomed(welcome);
    } catch {
      this.#socket?.close();
    }
  }

  /** @param {string} data */
  #read(data) {
    const frame = JSON.parse(data);
    if (frame.n === undefined) {
      if (STEPS.has(frame.op)) this.#asked.get(frame.asked ?? frame.look)?.heard(frame);
      else this.listener.heard(frame);
      return;
    }
    const asked = this.#asked.get(frame.n);
    this.#asked.delete(frame.n);
    if (frame.op === "ok") asked?.resolve(frame);
    else asked?.reject(new Refused(frame.sentence));
  }

  /** @param {number} code */
  #closed(code) {
    this.#socket = null;
    const asked = [...this.#asked.values()];
    this.#asked.clear();
    if (code === NOT_LOGGED_IN || TOO_MUCH.includes(code)) {
      this.#change(code === NOT_LOGGED_IN ? "locked" : "refused");
    } else {
      this.#change("waiting");
      // Windows that lost the bot together don't all come back in the same moment.
      this.#timer = setTimeout(() => this.connect(), this.#waitMs * (0.8 + 0.4 * Math.random()));
      this.#waitMs = Math.min(LONGEST_WAIT_MS, this.#waitMs * 2);
    }
    for (const { reject } of asked) reject(new Disconnected());
  }

  /** @param {ConnectionState} state */
  #change(state) {
    this.state = state;
    this.listener.changed(state);
  }
}

/** @param {string} text */
function isTooLarge(text) {
  // A unit has at most three bytes, so that most texts need not be encoded to be counted.
  return text.length * 3 > MAX_BYTES && new TextEncoder().encode(text).length > MAX_BYTES;
}
