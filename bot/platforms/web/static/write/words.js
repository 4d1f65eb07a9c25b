/** Words of a text: which one the caret is in. */

const EDGES = /^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu;

/**
 * Return the word at the caret and what is before it, null if there is none. Quotes and marks around it are no part.
 *
 * @param {string} text
 * @param {number} caret
 */
export function wordAt(text, caret) {
  const before = /\S*$/.exec(text.slice(0, caret))?.[0] ?? "";
  const after = /^\S*/.exec(text.slice(caret))?.[0] ?? "";
  const run = before + after;
  const word = run.replace(EDGES, "") || run;
  if (word === "") return null;
  const start = caret - before.length + run.indexOf(word);
  return { before: text.slice(0, start), word };
}
