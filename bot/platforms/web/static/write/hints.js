/** The line below the text: what can be done now. Where nothing hovers, there are most often no keys either. */

const TINTED = "Darker words surprised the model more: point at one to read what it expected.";
const TAPPED_TINTED = "Darker words surprised the model more: tap one to see what it expected.";

/**
 * Return what can be done with the text.
 *
 * @param {boolean} isTinted
 */
export function helpFor(isTinted) {
  const help = hasKeys()
    ? "Tab shows how the text may go on. Esc, then Tab, leaves the text."
    : "Continue shows how the text may go on.";
  if (!isTinted) return help;
  return `${help} ${hasKeys() ? TINTED : TAPPED_TINTED}`;
}

/** Return how one of several continuations is chosen. */
export function choosing() {
  return hasKeys()
    ? "Tab: more and longer · digit or ↓ and Enter: choose · →: take the grey text · Esc: close"
    : "Tap the one that you like.";
}

/** Return what can be done while a branch is written. */
export function goingOn() {
  const keys = hasKeys() ? " → or Enter: take what there is · Esc: stop" : "";
  return `Going on from the word …${keys}`;
}

function hasKeys() {
  return !matchMedia("(hover: none)").matches;
}
