/** Dates and times as people read them. */

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const SHORT = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });
const DAY_MS = 86_400_000;

/** @param {string} at */
export function timeOf(at) {
  return TIME.format(new Date(at));
}

/** @param {string} at */
export function fullTimeOf(at) {
  const date = new Date(at);
  return `${DAY.format(date)}, ${TIME.format(date)}`;
}

/**
 * Return a day and a time in little room.
 *
 * @param {string} at
 */
export function shortTimeOf(at) {
  return SHORT.format(new Date(at));
}

/**
 * Return the local day, as a key.
 *
 * @param {string} at
 */
export function dayKey(at) {
  return new Date(at).toDateString();
}

/** @param {string} at */
export function dayName(at) {
  const date = new Date(at);
  const today = new Date();
  if (date.toDateString() === today.toDateString()) return "Today";
  if (date.toDateString() === new Date(today.getTime() - DAY_MS).toDateString()) return "Yesterday";
  return DAY.format(date);
}
