/** Words of the bot with code in them. */
import { h } from "../dom/elements.js";

/**
 * Return a text with what stands in backticks as code.
 *
 * @param {string} text
 */
export function withCode(text) {
  return text.split(/`([^`\n]+)`/).map((part, i) => (i % 2 === 1 ? h("code", {}, part) : part));
}
