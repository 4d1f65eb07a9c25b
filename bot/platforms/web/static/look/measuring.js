/**
 * What the model measures of a text while it is typed: the newest look counts, older ones are given up.
 *
 * @import {Card} from "../wire/types.js"
 * @import {Session} from "../state/session.js"
 * @import {Store} from "../state/store.js"
 *
 * @typedef {{
 *   text: string, start: number, end: number, logprob: number | null, rank: number | null,
 *   expected: [text: string, share: number][],
 * }} MeasuredToken
 * @typedef {{card: Card, data: Record<string, any>}} Measured
 */
import { sentenceOf } from "../state/session.js";

const AFTER_MS = 250;

export class Measuring {
  #number = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;
  /** @type {Measured | null} */
  last = null;
  line = "";
  /** What is loaded before it can be measured, "" for nothing. */
  loading = "";

  /**
   * @param {Store} store
   * @param {Session} session
   * @param {(measured: Measured | null, problem: string) => void} show
   * @param {(isBusy: boolean) => void} showBusy
   */
  constructor(store, session, show, showBusy) {
    this.store = store;
    this.session = session;
    this.show = show;
    this.showBusy = showBusy;
  }

  /**
   * Measure a command line soon, unless another one comes before.
   *
   * @param {string} line "" shows nothing.
   */
  ask(line) {
    if (line === this.line) return;
    clearTimeout(this.#timer);
    this.line = line;
    const number = ++this.#number;
    if (line === "") {
      this.last = null;
      this.showBusy(false);
      this.show(null, "");
      return;
    }
    this.#timer = setTimeout(() => void this.#measure(line, number), AFTER_MS);
  }

  /** Forget what was asked for: it is measured when it is asked for again. */
  forget() {
    clearTimeout(this.#timer);
    this.#number++;
    this.line = "";
    this.showBusy(false);
  }

  /**
   * @param {string} line
   * @param {number} number
   */
  async #measure(line, number) {
    this.loading = "";
    this.showBusy(true);
    try {
      const request = { channel: channelOf(this.store), thread: "", line };
      const { answer } = this.session.connection.follow("look", request, (step) => {
        if (number !== this.#number || step.op !== "loading") return;
        this.loading = step.sentence;
        this.showBusy(true);
      });
      const found = await answer;
      if (number !== this.#number) return;
      if (found.card === null) {
        // Another view looked meanwhile: it is measured when it is asked for again.
        this.line = "";
        return;
      }
      placeTokens(found.data);
      this.last = { card: found.card, data: found.data };
      this.show(this.last, "");
    } catch (error) {
      if (number !== this.#number) return;
      this.line = "";
      this.last = null;
      this.show(null, sentenceOf(error));
    } finally {
      if (number === this.#number) {
        this.loading = "";
        this.showBusy(false);
      }
    }
  }
}

/**
 * Let the places of tokens count as JavaScript does: the bot counts characters, JavaScript halves of some.
 *
 * @param {Record<string, any>} data
 */
function placeTokens(data) {
  if (!Array.isArray(data.tokens) || !/[\uD800-\uDFFF]/.test(data.input)) return;
  const places = [0];
  for (const character of data.input) places.push((places.at(-1) ?? 0) + character.length);
  for (const token of data.tokens) {
    token.start = places[token.start] ?? data.input.length;
    token.end = places[token.end] ?? data.input.length;
  }
}

/**
 * Return the channel whose words are meant: the open one, else the first.
 *
 * @param {Store} store
 */
export function channelOf(store) {
  return store.room.channel || (store.servers[0]?.channels[0]?.id ?? "");
}
