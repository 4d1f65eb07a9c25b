/** The place in the address: #/c/CHANNEL(/THREAD), #/write or #/look. A reload and "back" come to it again. */

/** @typedef {{view: "chat" | "write" | "look", channel: string, thread: string}} Route */

/** @returns {Route} */
export function readRoute() {
  const [, view, channel = "", thread = ""] = location.hash.split("/").map(decoded);
  return view === "write" || view === "look" ? { view, channel: "", thread: "" } : { view: "chat", channel, thread };
}

/**
 * @param {string} channel
 * @param {string} [thread]
 */
export function channelAddress(channel, thread = "") {
  const parts = [channel, thread].filter((one) => one !== "").map(encodeURIComponent);
  return `#/c/${parts.join("/")}`;
}

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}
