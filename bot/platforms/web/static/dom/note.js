/** A small note at a word or button that is pointed at or focused. */
import { h } from "./elements.js";

/** @type {HTMLElement | null} */
let note = null;
/** @type {Element | null} */
let noted = null;

/** Show the `data-note` of what is pointed at or focused, all over the page. */
export function showNotes() {
  document.addEventListener("pointerover", (event) => show(event.target));
  document.addEventListener("focusin", (event) => show(event.target));
  document.addEventListener("focusout", hideNote);
  document.addEventListener("pointerdown", hideNote);
  document.addEventListener("scroll", hideNote, { capture: true, passive: true });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hideNote();
  });
}

/** @param {EventTarget | null} target */
function show(target) {
  const element = target instanceof Element ? target.closest("[data-note]") : null;
  if (element === noted) return;
  hideNote();
  if (element instanceof HTMLElement) showNote(element, element.dataset.note ?? "");
}

/**
 * Show a note at an element, in place of any other. What it says can also be heard elsewhere.
 *
 * @param {HTMLElement} element
 * @param {string} text
 */
export function showNote(element, text) {
  if (element === noted) return;
  hideNote();
  noted = element;
  note = h("div", { class: "note", "aria-hidden": "true", popover: "manual" }, h("bdi", {}, text));
  (element.closest("dialog") ?? document.body).append(note);
  note.showPopover?.();
  const at = element.getClientRects()[0] ?? element.getBoundingClientRect();
  const { width, height } = note.getBoundingClientRect();
  const left = Math.max(4, Math.min(innerWidth - width - 4, at.left + at.width / 2 - width / 2));
  note.style.left = `${left}px`;
  note.style.top = `${at.top - height - 6 >= 0 ? at.top - height - 6 : at.bottom + 6}px`;
}

export function hideNote() {
  note?.remove();
  note = null;
  noted = null;
}
