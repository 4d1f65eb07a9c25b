/** Say something to people who listen to the page instead of looking at it. */
import { byId, h } from "./elements.js";

const MAX_SPOKEN = 600;
const MAX_LINES = 20;

/**
 * Say `text` when nothing else is being said.
 *
 * @param {string} text
 */
export function speak(text) {
  const region = byId("polite");
  region.append(h("p", { dir: "auto" }, shortened(text)));
  while (region.childElementCount > MAX_LINES) region.firstElementChild?.remove();
}

/**
 * Say `text` at once: something went wrong.
 *
 * @param {string} text
 */
export function alarm(text) {
  byId("assertive").replaceChildren(h("p", { dir: "auto" }, shortened(text)));
}

/** @param {string} text */
function shortened(text) {
  const characters = [...text.slice(0, 2 * MAX_SPOKEN)];
  return characters.length > MAX_SPOKEN ? `${characters.slice(0, MAX_SPOKEN).join("")} …` : text;
}
