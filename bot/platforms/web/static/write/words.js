/** Words of a text: which one the caret is in. */

const EDGES = /^[^\p{L}\p{N}]+|[^\p{L}\p{N}\p{M}]+$/gu;
/** Scripts that put no space between words. */
const UNSPACED =
  /[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Bopo}\p{sc=Thai}\p{sc=Laoo}\p{sc=Tibt}\p{sc=Mymr}\p{sc=Khmr}]/u;

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
  if (UNSPACED.test(word)) return unspacedAt(text, start, word, caret);
  return { before: text.slice(0, start), word };
}

/**
 * Return the word at the caret within a run of words without spaces.
 *
 * @param {string} text
 * @param {number} start Of the run.
 * @param {string} run
 * @param {number} caret
 */
function unspacedAt(text, start, run, caret) {
  const words = [...new Intl.Segmenter(undefined, { granularity: "word" }).segment(run)];
  // Behind a word the caret is still in it.
  const found = words.find((one) => caret <= start + one.index + one.segment.length) ?? words.at(-1);
  if (found === undefined) return null;
  return { before: text.slice(0, start + found.index), word: found.segment };
}
