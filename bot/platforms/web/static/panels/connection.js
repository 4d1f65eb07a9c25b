/**
 * What is shown about the connection: nothing while it is there.
 *
 * @import {Session} from "../state/session.js"
 * @import {Store} from "../state/store.js"
 */
import { byId, h } from "../dom/elements.js";

/** A loss that is over at once is not worth a sentence. */
const SHOW_AFTER_MS = 600;

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer = undefined;

/**
 * @param {Store} store
 * @param {Session} session
 */
export function showConnection(store, session) {
  const { connection } = store;
  document.body.dataset.connection = connection;
  if (connection === "connecting") return;
  clearTimeout(timer);
  const banner = byId("banner");
  document.querySelector(".locked")?.remove();
  if (connection === "open") banner.replaceChildren();
  else if (connection === "locked") {
    banner.replaceChildren();
    document.body.append(
      h(
        "div",
        { class: "locked", role: "alert" },
        h("h1", {}, "Not logged in"),
        h("p", {}, "Open the address that the program printed."),
      ),
    );
  } else if (connection === "refused") {
    banner.replaceChildren(again("The bot closed the connection, because this was too much at once.", session));
  } else {
    timer = setTimeout(() => {
      banner.replaceChildren(h("p", {}, "The connection to the bot is lost. Trying again …"));
    }, SHOW_AFTER_MS);
  }
}

/**
 * @param {string} sentence
 * @param {Session} session
 */
function again(sentence, session) {
  const button = h("button", { type: "button", class: "button" }, "Connect again");
  button.addEventListener("click", () => session.connection.connect());
  return h("div", {}, h("p", {}, sentence), button);
}
