/**
 * What a list of messages consists of, from top to bottom: days, messages, private cards, what is being sent.
 *
 * @import {Message} from "../wire/types.js"
 * @import {PrivateCard, Room} from "../state/room.js"
 * @import {Store} from "../state/store.js"
 * @import {CardNote} from "../cards/card.js"
 * @import {Edit} from "./message.js"
 * @import {MessageWindow} from "./window.js"
 */
import { h } from "../dom/elements.js";
import { renderMessage, renderPending, renderPrivate } from "./message.js";
import { dayKey, dayName } from "./times.js";

const COMPACT_MS = 5 * 60_000;

/**
 * One row: `mark` changes when it must be rendered again.
 *
 * @typedef {{key: string, mark: string, render: () => HTMLElement}} Row
 */

/**
 * What is shown: `active` is the key of the row that Tab reaches, `editing` the message being edited.
 *
 * @typedef {{
 *   store: Store, room: Room, window: MessageWindow, shown: Message[], active: string,
 *   editing: Edit | null, noteOf: (key: string) => CardNote,
 * }} Shown
 */

/**
 * @param {Shown} shown
 * @returns {Row[]}
 */
export function rowsOf(shown) {
  const { room, window } = shown;
  /** @type {Row[]} */
  const rows = [];
  if (room.error !== "") rows.push(errorRow(room.error));
  else if (room.isLoaded && !window.hasBefore && room.thread === "") rows.push(startRow(shown.store));
  rows.push(...privatesAfter(shown, null));
  for (const [i, message] of shown.shown.entries()) {
    const before = shown.shown[i - 1];
    const isNewDay = before === undefined || dayKey(before.at) !== dayKey(message.at);
    if (isNewDay) rows.push(dayRow(message.at));
    rows.push(messageRow(shown, message, isNewDay ? undefined : before), ...privatesAfter(shown, message.id));
  }
  if (window.isAtNewest) rows.push(...lastRows(shown));
  return rows;
}

/**
 * Return what follows the newest message.
 *
 * @param {Shown} shown
 */
function lastRows({ store, room, shown, noteOf }) {
  // What a private card followed may be gone.
  const lost = room.privates.filter((one) => one.after !== null && room.find(one.after) === undefined);
  const rows = lost.map((one) => privateRow(one, noteOf));
  for (const one of store.pending) {
    if (one.channel !== room.channel || one.thread !== room.thread) continue;
    rows.push({ key: `pending ${one.nonce}`, mark: one.error, render: () => renderPending(one) });
  }
  const isWriting = shown.some((one) => one.card !== null && !one.card.is_final);
  if (room.isTyping && !isWriting) rows.push(typingRow(store.botName));
  return rows;
}

/**
 * @param {Shown} shown
 * @param {Message} message
 * @param {Message | undefined} before The message above on the same day.
 * @returns {Row}
 */
function messageRow({ store, room, active, editing, noteOf }, message, before) {
  const isOwn = message.author.id === store.me.id && message.card === null;
  const answered = message.reply_to ?? (message.asked === before?.id ? null : message.asked);
  const quoted = answered === null || answered === room.thread ? null : room.find(answered);
  const look = {
    isCompact: quoted === null && message.card === null && before !== undefined && isSoonAfter(before, message),
    quoted,
    canEdit: isOwn,
    canRemove: isOwn || store.me.is_moderator,
    edit: editing?.id === message.id ? editing : null,
    note: noteOf(message.id),
    isInThread: room.thread !== "",
  };
  const quotedMark = quoted ? [quoted.id, quoted.revision] : quoted === null;
  const mark = [
    message.revision,
    message.num_replies,
    message.author.name,
    message.id === active,
    { ...look, quoted: quotedMark },
  ];
  return { key: message.id, mark: JSON.stringify(mark), render: () => renderMessage(message, look) };
}

/**
 * @param {Message} before
 * @param {Message} message
 */
function isSoonAfter(before, message) {
  return before.author.id === message.author.id && Date.parse(message.at) - Date.parse(before.at) < COMPACT_MS;
}

/**
 * @param {Shown} shown
 * @param {string | null} id
 */
function privatesAfter({ room, noteOf }, id) {
  return room.privates.filter((one) => one.after === id).map((one) => privateRow(one, noteOf));
}

/**
 * @param {PrivateCard} shown
 * @param {(key: string) => CardNote} noteOf
 * @returns {Row}
 */
function privateRow(shown, noteOf) {
  const key = `private ${shown.key}`;
  const note = noteOf(key);
  return { key, mark: JSON.stringify([shown.card, note]), render: () => renderPrivate(shown, note) };
}

/**
 * @param {string} at
 * @returns {Row}
 */
function dayRow(at) {
  const name = dayName(at);
  const render = () => h("div", { class: "day", role: "separator" }, h("span", {}, name));
  return { key: `day ${dayKey(at)}`, mark: name, render };
}

/**
 * @param {string} error
 * @returns {Row}
 */
function errorRow(error) {
  return { key: "error", mark: error, render: () => h("p", { class: "problem start" }, error) };
}

/**
 * @param {Store} store
 * @returns {Row}
 */
function startRow(store) {
  const { botName, room } = store;
  const isDirect = store.findChannel(room.channel)?.server.is_direct ?? false;
  const render = () => {
    const bot = h("bdi", {}, isDirect ? botName : `@${botName}`);
    const how = isDirect ? ["Write a message, and ", bot, " answers. Type "] : ["Write to ", bot, " to talk, or type "];
    return h(
      "div",
      { class: "start" },
      h("p", {}, isDirect ? "This is the beginning of your conversation." : "This is the beginning of the channel."),
      h("p", { class: "quiet" }, how, h("code", {}, "/"), " to see what it can do."),
    );
  };
  return { key: "start", mark: JSON.stringify([botName, isDirect]), render };
}

/**
 * @param {string} botName
 * @returns {Row}
 */
function typingRow(botName) {
  const render = () => h("p", { class: "typing quiet" }, h("bdi", {}, botName), " is writing …");
  return { key: "typing", mark: botName, render };
}
