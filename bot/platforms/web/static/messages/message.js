/**
 * One message as elements.
 *
 * @import {Card, Message} from "../wire/types.js"
 * @import {CardNote} from "../cards/card.js"
 * @import {Pending, PrivateCard} from "../state/room.js"
 * @import {IconName} from "../dom/icons.js"
 */
import { renderCard } from "../cards/card.js";
import { longText } from "../cards/long_text.js";
import { h } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";
import { percent } from "../dom/numbers.js";
import { fullTimeOf, timeOf } from "./times.js";

const NUM_COLOURS = 8;
const MAX_QUOTED = 120;

/**
 * A message that is being edited: from which text, and why the last try to save failed.
 *
 * @typedef {{id: string, draft: string, problem: string}} Edit
 */

/**
 * How a message is shown: `isCompact` without its author, since the message above is theirs too; `quoted` what it
 * replies to (null: nothing; undefined: not loaded); `canEdit` and `canRemove` for this person; `edit` while it is
 * edited.
 *
 * @typedef {{
 *   isCompact: boolean, quoted: Message | null | undefined, canEdit: boolean, canRemove: boolean,
 *   edit: Edit | null, note: CardNote, isInThread: boolean,
 * }} Look
 */

/**
 * @param {Message} message
 * @param {Look} look
 */
export function renderMessage(message, look) {
  const { author } = message;
  const name = `${author.name}, ${timeOf(message.at)}`;
  return h(
    "article",
    {
      class: look.isCompact ? "message is-compact" : "message",
      "data-key": message.id,
      "data-id": message.id,
      "aria-label": message.is_edited ? `${name}, edited` : name,
    },
    look.quoted !== null && renderQuote(message.reply_to ?? message.asked ?? "", look.quoted),
    look.isCompact ? time(message) : face(author.id, author.name, author.is_bot),
    h(
      "div",
      { class: "body" },
      !look.isCompact && byline(message),
      look.edit !== null ? editor(look.edit) : content(message, look.note),
      message.num_replies > 0 && !look.isInThread && replies(message),
    ),
    look.edit === null && tools(message, look),
  );
}

/**
 * @param {string} id
 * @param {string} name
 * @param {boolean} isBot
 */
export function face(id, name, isBot) {
  let hash = 0;
  for (const character of id) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  const letter = /[\p{L}\p{N}\p{Emoji_Presentation}]/u.exec(name)?.[0].toUpperCase() ?? "?";
  const colour = isBot ? "bot" : hash % NUM_COLOURS;
  return h("div", { class: "face", "data-colour": colour, "aria-hidden": "true" }, letter);
}

/** @param {Message} message */
function byline(message) {
  return h(
    "header",
    { class: "byline" },
    h("bdi", { class: "author" }, message.author.name),
    message.author.is_bot && h("span", { class: "badge" }, "bot"),
    time(message),
    message.is_edited && h("span", { class: "quiet edited" }, "edited"),
  );
}

/** @param {Message} message */
function time(message) {
  return h("time", { class: "time", datetime: message.at, title: fullTimeOf(message.at) }, timeOf(message.at));
}

/**
 * @param {Message} message
 * @param {CardNote} note
 */
function content(message, note) {
  if (message.card !== null) return renderCard(message.card, note);
  return h(
    "div",
    { class: "said" },
    message.text !== "" && longText(message.text, "text"),
    message.file_name !== "" && h("p", { class: "attached" }, iconOf("file"), h("bdi", {}, message.file_name)),
  );
}

/**
 * @param {string} id
 * @param {Message | undefined} quoted
 */
function renderQuote(id, quoted) {
  const what = quoted === undefined ? "an earlier message" : shortText(quoted);
  return h(
    "button",
    { type: "button", class: "quote", "data-do": "jump", "data-to": id },
    h("span", { class: "unseen" }, "Reply to "),
    quoted !== undefined && h("bdi", { class: "quote-author" }, quoted.author.name),
    h("bdi", { class: "one-line" }, what),
  );
}

/**
 * Return a message in one short line.
 *
 * @param {Message} message
 */
export function shortText(message) {
  const text = message.card === null ? message.text || message.file_name : cardText(message.card);
  const line = text
    .slice(0, 4 * MAX_QUOTED)
    .replace(/\s+/g, " ")
    .trim();
  const characters = [...line];
  return characters.length > MAX_QUOTED ? `${characters.slice(0, MAX_QUOTED).join("")} …` : line || "(empty)";
}

/**
 * Return what a card says, as text.
 *
 * @param {Card} card
 */
export function cardText(card) {
  if (card.error !== null) return card.error;
  const parts = card.blocks.map((block) => {
    switch (block.type) {
      case "text":
      case "verbatim":
        return block.text;
      case "facts":
        return block.items.map(([name, value]) => `${name}: ${value}`).join(", ");
      case "bars":
        return block.items.map(([name, share]) => `${name} ${percent(share)}`).join(", ");
      case "choices":
        return block.options
          .map((option, i) => `${block.first_number + i} ${block.labels?.[i] ?? ""}`.trim() + `: ${option}`)
          .join("; ");
      case "progress":
        return block.what;
      case "table":
        return `A table of ${block.rows.length} rows`;
      case "tinted":
        return "A heat map";
      default:
        return "";
    }
  });
  return parts.filter((part) => part !== "").join(". ");
}

/** @param {Message} message */
function replies(message) {
  const count = message.num_replies === 1 ? "1 reply" : `${message.num_replies} replies`;
  return h("button", { type: "button", class: "link replies", "data-do": "thread" }, iconOf("thread"), count);
}

/** @param {Edit} edit */
function editor({ draft, problem }) {
  const area = h("textarea", {
    class: "field edit-field",
    "aria-label": "Edit the message",
    "aria-invalid": String(problem !== ""),
    rows: 1,
    dir: "auto",
  });
  area.value = draft;
  return h(
    "div",
    { class: "editor" },
    area,
    h(
      "p",
      { class: "editor-foot" },
      h("button", { type: "button", class: "button is-primary", "data-do": "save" }, "Save"),
      h("button", { type: "button", class: "button", "data-do": "leave" }, "Cancel"),
      problem === ""
        ? h("span", { class: "quiet" }, "Enter saves, Esc cancels")
        : h("span", { class: "problem", dir: "auto" }, problem),
    ),
  );
}

/**
 * @param {Message} message
 * @param {Look} look
 */
function tools(message, look) {
  return h(
    "div",
    { class: "tools", role: "group", "aria-label": `Actions for the message of ${message.author.name}` },
    tool("reply", "Reply", "reply"),
    !look.isInThread && message.thread === "" && tool("thread", "Open a thread", "thread"),
    look.canEdit && tool("edit", "Edit", "edit"),
    look.canRemove && tool("remove", "Delete", "remove"),
  );
}

/**
 * @param {string} action
 * @param {string} label
 * @param {IconName} icon
 */
function tool(action, label, icon) {
  const attributes = {
    type: "button",
    class: "icon-button",
    "data-do": action,
    "aria-label": label,
    "data-note": label,
  };
  return h("button", attributes, iconOf(icon));
}

/**
 * @param {PrivateCard} shown
 * @param {CardNote} note
 */
export function renderPrivate(shown, note) {
  return h(
    "article",
    {
      class: "message is-private",
      "data-key": `private ${shown.key}`,
      "data-private": shown.key,
      "aria-label": "Only you can see this",
    },
    h(
      "div",
      { class: "body" },
      h(
        "header",
        { class: "byline quiet" },
        "Only you can see this",
        h("button", { type: "button", class: "link", "data-do": "dismiss" }, "Dismiss"),
      ),
      renderCard(shown.card, note),
    ),
  );
}

/** @param {Pending} pending */
export function renderPending(pending) {
  const isRefused = pending.error !== "";
  return h(
    "article",
    {
      class: "message is-pending",
      "data-key": `pending ${pending.nonce}`,
      "data-pending": pending.nonce,
      "aria-label": isRefused ? "Not sent" : "Being sent",
    },
    h(
      "div",
      { class: "body" },
      h(
        "div",
        { class: "said" },
        longText(pending.text, "text"),
        pending.file && h("p", { class: "attached" }, iconOf("file"), h("bdi", {}, pending.file.name)),
      ),
      isRefused
        ? h(
            "div",
            { class: "refused" },
            h("p", { class: "problem", dir: "auto" }, pending.error),
            h("button", { type: "button", class: "button", "data-do": "again" }, "Try again"),
            h("button", { type: "button", class: "button", "data-do": "take-back" }, "Edit"),
          )
        : h("p", { class: "quiet" }, "Sending …"),
    ),
  );
}
