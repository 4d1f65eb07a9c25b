/**
 * Tints of the text's words by their surprisal: measured when typing pauses, shown where the text is still the same.
 *
 * @import {Session} from "../state/session.js"
 * @import {Store} from "../state/store.js"
 * @import {Measured, MeasuredToken} from "../look/measuring.js"
 * @import {Paper} from "./paper.js"
 */
import { Measuring } from "../look/measuring.js";

const COMMAND = "perplexity -- ";
/** What is measured faster needs no word. */
const SLOW_MS = 800;

export class Tints {
  isOn = false;
  /** Whether a long text is being measured. */
  isSlow = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;
  #isPaused = false;

  /**
   * @param {Store} store
   * @param {Session} session
   * @param {Paper} paper
   * @param {(problem: string) => void} say Called with what went wrong.
   * @param {() => void} changed Called when `isSlow` changes.
   */
  constructor(store, session, paper, say, changed) {
    this.store = store;
    this.paper = paper;
    this.say = say;
    this.changed = changed;
    this.measuring = new Measuring(
      store,
      session,
      (measured, problem) => this.#show(measured, problem),
      (isBusy) => this.#wait(isBusy),
    );
  }

  /** What is loaded before the words can be measured, "" for nothing. */
  get loading() {
    return this.measuring.loading;
  }

  /** @param {boolean} isBusy */
  #wait(isBusy) {
    clearTimeout(this.#timer);
    if (isBusy && this.loading !== "") {
      this.isSlow = true;
      this.changed();
    } else if (isBusy) this.#timer = setTimeout(() => this.#setSlow(true), SLOW_MS);
    else this.#setSlow(false);
  }

  /** @param {boolean} isSlow */
  #setSlow(isSlow) {
    if (this.isSlow === isSlow) return;
    this.isSlow = isSlow;
    this.changed();
  }

  /** @param {boolean} isOn */
  set(isOn) {
    this.isOn = isOn;
    this.measure();
  }

  /** @param {boolean} isPaused While something else looks into the model. */
  pause(isPaused) {
    this.#isPaused = isPaused;
    // What was asked for may have been ended by it.
    this.measuring.forget();
    this.measure();
  }

  /** Measure the text soon, unless it is measured already. */
  measure() {
    if (this.#isPaused || !this.store.isWelcome) return;
    const { text } = this.paper;
    this.measuring.ask(this.isOn && text.trim() !== "" ? COMMAND + text : "");
  }

  /**
   * @param {Measured | null} measured
   * @param {string} problem
   */
  #show(measured, problem) {
    if (measured === null) {
      this.paper.untint();
      if (problem !== "") this.say(problem);
      return;
    }
    const text = this.measuring.line.slice(COMMAND.length);
    // White space around the text is not measured.
    const start = text.indexOf(measured.data.input);
    if (start === -1) return;
    const tokens = /** @type {MeasuredToken[]} */ (measured.data.tokens);
    this.paper.tint(
      text,
      tokens.map((one) => ({ ...one, start: one.start + start, end: one.end + start })),
    );
  }
}
