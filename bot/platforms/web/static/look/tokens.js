/**
 * The tokens of a measured text, tinted by their bits or by their rank; one that is looked at says what was expected.
 *
 * @import {MeasuredToken} from "./measuring.js"
 */
import { h } from "../dom/elements.js";
import { percent } from "../dom/numbers.js";
import { makeStop, roving } from "../dom/roving.js";

/** Tokens with at least this many bits have the darkest tint. */
const MAX_BITS = 20;
/** Up to which rank a token has a colour, as in GLTR: what the model would have said itself is nearly untinted. */
export const RANKS = [1, 10, 100, 1000];

/** @typedef {"bits" | "ranks"} Colours */

/** @param {number} place */
export function rankClass(place) {
  const at = RANKS.findIndex((one) => place <= one);
  return at === -1 ? RANKS.length : at;
}

/** @param {MeasuredToken} token */
export function bitsOf(token) {
  return token.logprob === null ? null : -token.logprob / Math.LN2;
}

/**
 * Return how dark the tint of a token is, from 0 to 1.
 *
 * @param {MeasuredToken} token
 */
export function tintOf(token) {
  return Math.max(0, Math.min(1, (bitsOf(token) ?? 0) / MAX_BITS)).toFixed(3);
}

export class TokenMap {
  /** @type {MeasuredToken[]} */
  #tokens = [];

  constructor() {
    this.list = h("div", {
      class: "words look-tokens",
      dir: "auto",
      role: "listbox",
      "aria-label": "The tokens of the text",
      "aria-orientation": "horizontal",
    });
    this.detail = h("p", { class: "look-detail", "aria-live": "polite" }, "");
    roving(this.list, ".word", { isBoth: true });
    for (const type of ["focusin", "pointerover"])
      this.list.addEventListener(type, (event) => this.#look(event.target));
  }

  /**
   * @param {string} text
   * @param {MeasuredToken[]} tokens
   * @param {Colours} colours
   */
  show(text, tokens, colours) {
    this.#tokens = tokens;
    this.list.dataset.colours = colours;
    this.list.replaceChildren(...tokens.map((token, i) => tokenOf(text, token, i, colours)));
    makeStop(this.list, ".word", null);
    this.detail.textContent = "Point at a token, or move to it with the arrow keys.";
  }

  /** @param {EventTarget | null} target */
  #look(target) {
    const element = target instanceof Element ? target.closest(".word") : null;
    if (!(element instanceof HTMLElement)) return;
    const token = this.#tokens[Number(element.dataset.at)];
    if (token === undefined) return;
    const bits = bitsOf(token);
    const chance = token.logprob === null ? 0 : Math.exp(token.logprob);
    const expected = token.expected.filter(([text]) => text !== token.text);
    this.detail.replaceChildren(
      h("b", {}, h("bdi", {}, shown(token.text))),
      ` · ${bits === null ? "not scored" : `${bits.toFixed(1)} bits · ${percent(chance)} · rank ${rank(token)}`}`,
      expected.length > 0 ? " · expected instead: " : "",
      ...expected.flatMap(([text, share], i) => [i > 0 ? ", " : "", h("bdi", {}, shown(text)), ` ${percent(share)}`]),
    );
  }
}

/**
 * @param {string} text
 * @param {MeasuredToken} token
 * @param {number} at
 * @param {Colours} colours
 */
function tokenOf(text, token, at, colours) {
  const own = text.slice(token.start, token.end);
  const bits = bitsOf(token);
  if (bits === null || own === "") return h("span", {}, own);
  const tint = colours === "bits" ? { "--tint": tintOf(token) } : { "data-rank": rankClass(token.rank ?? 1) };
  const said = `${shown(own)}: ${bits.toFixed(1)} bits, rank ${rank(token)}`;
  return h("span", { class: "word", role: "option", "data-at": at, "aria-label": said, tabindex: -1, ...tint }, own);
}

/**
 * Return what is said of a token: how likely it was, and what was expected instead.
 *
 * @param {MeasuredToken} token
 */
export function aboutToken(token) {
  const bits = bitsOf(token);
  if (bits === null) return `${shown(token.text)}: not scored`;
  const chance = percent(Math.exp(token.logprob ?? 0));
  const expected = token.expected.filter(([text]) => text !== token.text);
  const instead = expected.map(([text, share]) => `“${shown(text)}” ${percent(share)}`).join(" · ");
  const own = `“${shown(token.text)}”: ${bits.toFixed(1)} bits · ${chance} · rank ${rank(token)}`;
  return instead === "" ? own : `${own}\nExpected instead: ${instead}`;
}

/** @param {MeasuredToken} token */
function rank(token) {
  return (token.rank ?? 0).toLocaleString("en");
}

/** @param {string} text What can't be seen is named. */
export function shown(text) {
  return text.trim() === "" ? JSON.stringify(text) : text.trim();
}
