/**
 * The place in the address: #/c/CHANNEL(/THREAD), #/write, #/look or #/workbench(/CHANNEL(/TEMPLATE)).
 *
 * A reload and "back" come to it again.
 */

/**
 * @typedef {"chat" | "write" | "look" | "workbench"} View
 * @typedef {{view: View, channel: string, thread: string, template: string}} Route
 */

/** @returns {Route} */
export function readRoute() {
  const [, view, channel = "", second = ""] = location.hash.split("/").map(decoded);
  if (view === "write" || view === "look") return { view, channel: "", thread: "", template: "" };
  if (view === "workbench") return { view, channel, thread: "", template: second };
  return { view: "chat", channel, thread: second, template: "" };
}

/**
 * @param {string} channel
 * @param {string} [thread]
 */
export function channelAddress(channel, thread = "") {
  const parts = [channel, thread].filter((one) => one !== "").map(encodeURIComponent);
  return `#/c/${parts.join("/")}`;
}

/**
 * @param {string} channel A channel of the server whose templates are meant.
 * @param {string} [template]
 */
export function workbenchAddress(channel, template = "") {
  const parts = [channel, template].filter((one) => one !== "").map(encodeURIComponent);
  return `#/workbench/${parts.join("/")}`;
}

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}
