/**
 * What may be typed next in a message: commands, their options and values, names.
 *
 * @import {Session} from "../state/session.js"
 * @import {Command} from "../wire/types.js"
 */

/**
 * An item that replaces the text from `start` to the caret by `value`.
 *
 * @typedef {{value: string, label: string, help: string, start: number}} TextOffer
 * @typedef {{offers: TextOffer[], hint: string, isFirstChosen: boolean}} Offers
 */

/** @type {Offers} */
export const NO_OFFERS = { offers: [], hint: "", isFirstChosen: false };

/**
 * Return the commands that begin with, or else contain, what is typed after the slash; null if it is none of them.
 *
 * @param {Command[]} commands
 * @param {string} text The message up to the caret.
 * @returns {Offers | null}
 */
export function commandOffers(commands, text) {
  const typed = text.slice(1).toLowerCase();
  if (!text.startsWith("/") || typed.includes("\n")) return null;
  const beginning = commands.filter((one) => one.name.startsWith(typed));
  const containing = commands.filter((one) => !one.name.startsWith(typed) && one.name.includes(typed));
  const found = typed.includes(" ") ? beginning : [...beginning, ...containing];
  if (found.length === 0) return null;
  const offers = found.map((one) => ({
    value: `/${one.name} `,
    label: `/${one.name}${one.text_name ? ` ${one.text_name}` : ""}`,
    help: one.summary,
    start: 0,
  }));
  // Enter sends a command that is complete.
  return { offers, hint: "", isFirstChosen: !commands.some((one) => one.name === typed) };
}

/**
 * Return the people and the bot whose names begin with what is typed after an @; null if none is typed.
 *
 * @param {string[]} names
 * @param {string} text The message up to the caret.
 * @returns {Offers | null}
 */
export function nameOffers(names, text) {
  const typed = /(?:^|\s)@([^\n@]{0,40})$/.exec(text)?.[1]?.toLowerCase();
  if (typed === undefined) return null;
  const found = names.filter((name) => name.toLowerCase().startsWith(typed));
  if (found.length === 0) return null;
  const start = text.length - typed.length - 1;
  const offers = found.map((name) => ({ value: `@${name} `, label: `@${name}`, help: "", start }));
  return { offers, hint: "", isFirstChosen: true };
}

/**
 * Ask the bot what may follow in a command line.
 *
 * @param {Session} session
 * @param {string} channel
 * @param {string} text The message up to the caret; it begins with a slash.
 * @returns {Promise<Offers>}
 */
export async function expectedOffers(session, channel, text) {
  const { values, start, help } = await session.expect(channel, text.slice(1));
  const offers = values.map((one) => ({ value: `${one.value} `, label: one.value, help: one.help, start: start + 1 }));
  return { offers, hint: help, isFirstChosen: false };
}

/**
 * Return the command that a line begins with, and the text after its name.
 *
 * @param {Command[]} commands
 * @param {string} text
 */
export function commandOf(commands, text) {
  const line = text.slice(1);
  const named = commands.filter((one) => text.startsWith("/") && `${line} `.startsWith(`${one.name} `));
  const command = named.reduce(
    (/** @type {Command | null} */ best, one) => (best !== null && best.name.length > one.name.length ? best : one),
    null,
  );
  return command === null ? null : { command, rest: line.slice(command.name.length).trimStart() };
}
