/** Put text into a text area as if it had been typed, so that the browser can undo it. */

/**
 * Replace the selection of `area` by `text`.
 *
 * @param {HTMLTextAreaElement} area
 * @param {string} text
 */
export function insertText(area, text) {
  area.focus();
  // Nothing else keeps the undo history, and every browser has it.
  if (document.execCommand("insertText", false, text)) return;
  area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
  area.dispatchEvent(new Event("input", { bubbles: true }));
}
