/**
 * The continuations of a text that is being typed: asked for in rounds, shown while they are written, kept while they
 * still fit. Nothing here draws.
 *
 * @import {Session} from "../state/session.js"
 * @import {Sampling} from "./sampling.js"
 */
import { channelOf } from "../look/measuring.js";

/** Each round asks for longer ones, in parts of the length that is set. */
const LENGTHS = [1, 2.4, 4.8, 9.6];
/** Behind a word that was chosen. */
const BRANCH_LENGTH = 4.8;
const MAX_TOKENS = 200;

/**
 * One question to the model. `texts` grow while `isDone` is false; `n` is the request's number, `loading` what is
 * loaded first. A `seed` of null writes no text again.
 *
 * @typedef {{n: number, texts: string[], seed: number | null, isDone: boolean, loading: string}} Round
 */

export class Continuations {
  /** What the texts continue. */
  #text = "";
  /** @type {Round[]} */
  #rounds = [];
  #numRounds = 0;
  /** Whether the one text that is written goes into the text by itself. */
  isBranch = false;

  /**
   * @param {Session} session
   * @param {Pick<Sampling, "options" | "numTexts" | "numTokens" | "seedOf" | "showSeed">} sampling
   * @param {() => void} changed Called when there is more to show.
   */
  constructor(session, sampling, changed) {
    this.session = session;
    this.sampling = sampling;
    this.changed = changed;
  }

  /** Texts that may follow, the oldest first, as far as they are written. */
  get texts() {
    return [...new Set(this.#rounds.flatMap((one) => one.texts))].filter((one) => one !== "");
  }

  get isAsking() {
    return this.#rounds.some((one) => !one.isDone);
  }

  /** What is loaded before the model can write, "" for nothing. */
  get loading() {
    return this.#rounds.find((one) => !one.isDone)?.loading ?? "";
  }

  get isOpen() {
    return this.#rounds.length > 0;
  }

  /**
   * Return the seed that wrote a text.
   *
   * @param {string} text
   */
  seedOf(text) {
    return this.#rounds.find((one) => one.texts.includes(text))?.seed ?? null;
  }

  /**
   * Ask for more continuations of `text`, longer ones than before; earlier ones stay.
   *
   * @param {string} text
   * @returns {Promise<string[] | null>} Those of this round; null if nobody waits for them any more.
   */
  ask(text) {
    if (text !== this.#text || this.isBranch) this.close();
    const at = Math.min(this.#numRounds, LENGTHS.length - 1);
    return this.#ask(text, this.sampling.numTexts, LENGTHS[at] ?? 1);
  }

  /**
   * Go on from a word that was chosen, once.
   *
   * @param {string} text
   */
  askForBranch(text) {
    this.close();
    this.isBranch = true;
    return this.#ask(text, 1, BRANCH_LENGTH);
  }

  /**
   * Say that the text is now `text`: what goes on as a continuation does keeps it, shorter.
   *
   * @param {string} text
   */
  typed(text) {
    if (!this.isOpen || text === this.#text) return;
    const typed = text.startsWith(this.#text) ? text.slice(this.#text.length) : null;
    const fits = (/** @type {string} */ one) => typed !== null && one.startsWith(typed) && one.length > typed.length;
    if (typed === null || !this.texts.some(fits)) {
      this.close();
      return;
    }
    // An answer that is on its way continues the text before.
    this.#stop();
    for (const round of this.#rounds) {
      round.texts = round.texts.filter(fits).map((one) => one.slice(typed.length));
    }
    this.#text = text;
  }

  /** Forget all; what is still being written is stopped. */
  close() {
    this.#stop();
    this.#rounds = [];
    this.#numRounds = 0;
    this.isBranch = false;
  }

  /**
   * @param {string} text
   * @param {number} num
   * @param {number} length
   */
  async #ask(text, num, length) {
    const { sampling } = this;
    this.#text = text;
    const seed = sampling.seedOf(this.#numRounds++);
    /** @type {Round} */
    const round = { n: 0, texts: [], seed, isDone: false, loading: "" };
    this.#rounds.push(round);
    const max_new_tokens = Math.max(1, Math.min(MAX_TOKENS, Math.round(sampling.numTokens * length)));
    const channel = channelOf(this.session.store);
    const request = { channel, text, num, max_new_tokens, seed, options: sampling.options };
    const { n, answer } = this.session.connection.follow("continue", request, (step) => {
      if (round.isDone) return;
      round.loading = step.op === "loading" ? step.sentence : "";
      round.texts = step.texts ?? round.texts;
      this.changed();
    });
    round.n = n;
    this.changed();
    try {
      const found = await answer;
      if (round.isDone) return null;
      round.isDone = true;
      round.texts = found.texts;
      round.seed = found.seed;
      sampling.showSeed(round.seed);
      return round.texts;
    } finally {
      round.isDone = true;
      this.#rounds = this.#rounds.filter((one) => !one.isDone || one.texts.some((found) => found !== ""));
      this.changed();
    }
  }

  /** Let no answer count that is on its way, and end the work on it. */
  #stop() {
    for (const round of this.#rounds) {
      if (round.isDone) continue;
      round.isDone = true;
      if (round.n !== 0) this.session.connection.request("stop_continuing", { asked: round.n }).catch(() => {});
    }
  }
}
