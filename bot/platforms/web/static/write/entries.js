/**
 * The list of somebody's texts after one of them changed.
 *
 * @import {Writing, WritingEntry} from "../wire/types.js"
 */

/**
 * Return the list with a text as it is now, the newest first; the same list if its entry says so already.
 *
 * @param {WritingEntry[]} list
 * @param {Writing} writing
 */
export function withChanged(list, { id, name, branches }) {
  const num_branches = branches.length;
  const known = list.find((one) => one.id === id);
  if (known?.num_branches === num_branches && known.name === name) return list;
  const changed = { id, name, num_branches, changed_at: new Date().toISOString() };
  return [changed, ...list.filter((one) => one.id !== id)];
}
