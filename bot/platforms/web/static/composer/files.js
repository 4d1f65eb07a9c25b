/** Text files that a person drops or chooses. */
import { sizeOf } from "../cards/card.js";

/** A file that can't be taken; the message is a sentence for the person. */
export class FileProblem extends Error {}

/**
 * Return the text of a file.
 *
 * @param {File} file
 * @param {number} maxBytes
 * @throws {FileProblem} if it is too large or no text.
 */
export async function readTextFile(file, maxBytes) {
  if (file.size > maxBytes) {
    throw new FileProblem(`The file has ${sizeOf(file.size)}; at most ${sizeOf(maxBytes)} can be read.`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    throw new FileProblem("I can only read text files in UTF-8.");
  }
}
