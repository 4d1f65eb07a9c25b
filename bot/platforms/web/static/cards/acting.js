/**
 * What the buttons, selects and files of shown cards do.
 *
 * @import {Card} from "../wire/types.js"
 * @import {Session} from "../state/session.js"
 * @import {CardNote} from "./card.js"
 */
import { openMenu } from "../dom/menu.js";
import { alarm } from "../dom/speaking.js";
import { sentenceOf } from "../state/session.js";

/**
 * A card where it is shown: in a message, or for this window only (`message` null).
 *
 * @typedef {{
 *   card: Card, message: string | null, channel: string, thread: string, note: CardNote, changed: () => void,
 * }} ShownCard
 */

/**
 * Return the actions of a view that shows cards.
 *
 * @param {Session} session
 * @param {(element: HTMLElement) => ShownCard | null} find Returns the card that an element is in.
 * @returns {Record<string, (element: HTMLElement) => void>}
 */
export function cardActions(session, find) {
  return {
    click: (element) => {
      const shown = find(element);
      if (shown !== null) void click(session, shown, element.dataset.action ?? "", "");
    },
    select: (element) => {
      const shown = find(element);
      const select = shown?.card.selects[Number(element.dataset.at)];
      if (shown === null || select === undefined) return;
      const items = select.options.map((one) => ({
        label: one.label,
        help: one.help,
        isChosen: one.is_chosen,
        choose: () => void click(session, shown, select.action, one.value),
      }));
      openMenu(element, select.label, items);
    },
    stop: (element) => {
      const shown = find(element);
      if (shown === null) return;
      void act(shown, "stop", () => {
        const { channel, thread } = shown;
        return session.connection.request("stop", { id: shown.card.stop_id, channel, thread });
      });
    },
    download: (element) => {
      const file = find(element)?.card.file;
      if (file) download(file.name, file.text);
    },
  };
}

/**
 * @param {Session} session
 * @param {ShownCard} shown
 * @param {string} action
 * @param {string} value
 */
function click(session, shown, action, value) {
  const { card, message, channel, thread } = shown;
  const at = { message, channel, thread, card: card.card_id ?? "", revision: card.card_revision };
  return act(shown, action, () => session.click({ ...at, action, value }));
}

/**
 * @param {ShownCard} shown
 * @param {string} action
 * @param {() => Promise<unknown>} request
 */
async function act(shown, action, request) {
  const { note } = shown;
  if (note.busy !== "") return;
  note.busy = action;
  note.problem = "";
  shown.changed();
  try {
    await request();
  } catch (error) {
    note.problem = sentenceOf(error);
    alarm(note.problem);
  } finally {
    note.busy = "";
    shown.changed();
  }
}

/**
 * Save a text as a file.
 *
 * @param {string} name
 * @param {string} text
 */
export function download(name, text) {
  downloadBlob(name, new Blob([text], { type: "text/plain;charset=utf-8" }));
}

/**
 * @param {string} name
 * @param {Blob} blob
 */
export function downloadBlob(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
