/**
 * The continuations of a text that is being typed: asked for in rounds, kept while they still fit. Nothing here draws.
 *
 * @import {Session} from "../state/session.js"
 */

/** Each round asks for longer ones. */
const ROUND_TOKENS = [10, 24, 48, 96];
const NUM_A_ROUND = 3;
const MAX_SEED = 2 ** 31;

export class Continuations {
  /** What the texts continue. */
  #text = "";
  /** Texts that may follow, the oldest first. @type {string[]} */
  texts = [];
  #round = 0;
  /** How many answers are on their way. */
  #numAsked = 0;
  /** Changes when answers that are on their way no longer fit. */
  #generation = 0;
  #seed = 0;

  /** @param {Session} session */
  constructor(session) {
    this.session = session;
  }

  get isAsking() {
    return this.#numAsked > 0;
  }

  get isOpen() {
    return this.isAsking || this.texts.length > 0;
  }

  /**
   * Ask for more continuations of `text`, longer ones than before; earlier ones stay.
   *
   * @param {string} text
   * @param {() => void} changed Called when there are new ones.
   */
  async ask(text, changed) {
    if (text !== this.#text || !this.isOpen) {
      this.close();
      this.#text = text;
      this.#seed = Math.floor(Math.random() * MAX_SEED);
    }
    const generation = this.#generation;
    const round = this.#round++;
    const request = {
      text,
      num: NUM_A_ROUND,
      max_new_tokens: ROUND_TOKENS[Math.min(round, ROUND_TOKENS.length - 1)],
      seed: (this.#seed + round) % MAX_SEED,
    };
    this.#numAsked++;
    changed();
    try {
      const { texts } = await this.session.connection.request("continue", request);
      if (generation === this.#generation) this.#add(texts);
    } finally {
      if (generation === this.#generation) {
        this.#numAsked--;
        changed();
      }
    }
  }

  /**
   * Say that the text is now `text`: what goes on as a continuation does keeps it, shorter.
   *
   * @param {string} text
   */
  typed(text) {
    if (!this.isOpen || text === this.#text) return;
    const typed = text.startsWith(this.#text) ? text.slice(this.#text.length) : null;
    const fitting = typed === null ? [] : this.#fitting(typed, this.texts);
    if (fitting.length === 0) {
      this.close();
      return;
    }
    this.texts = fitting;
    this.#text = text;
    // An answer that is on its way continues the text before.
    this.#drop();
  }

  /** Forget all; an answer that is on its way is dropped. */
  close() {
    this.#drop();
    this.#round = 0;
    this.texts = [];
  }

  /** Let no answer count that is on its way. */
  #drop() {
    this.#generation++;
    this.#numAsked = 0;
  }

  /** @param {string[]} texts */
  #add(texts) {
    this.texts = [...new Set([...this.texts, ...texts])].filter((one) => one !== "");
  }

  /**
   * @param {string} typed
   * @param {string[]} texts
   */
  #fitting(typed, texts) {
    return texts
      .filter((one) => one.startsWith(typed) && one.length > typed.length)
      .map((one) => one.slice(typed.length));
  }
}
