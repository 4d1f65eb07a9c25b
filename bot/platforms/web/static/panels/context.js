/**
 * The panel "What the model reads": what it would read now, asked again when that may have changed.
 *
 * @import {Session} from "../state/session.js"
 * @import {Store} from "../state/store.js"
 * @import {Card} from "../wire/types.js"
 */
import { cardActions } from "../cards/acting.js";
import { renderCard } from "../cards/card.js";
import { markWide } from "../cards/wide.js";
import { h, morph, onAction } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";
import { roving } from "../dom/roving.js";
import { Disconnected, Refused } from "../wire/socket.js";

const ASK_AFTER_MS = 150;

export class ContextPanel {
  /** @type {Card | null} */
  #card = null;
  #note = { busy: "", problem: "" };
  #asked = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;

  /**
   * @param {Store} store
   * @param {Session} session
   */
  constructor(store, session) {
    this.store = store;
    this.session = session;
    this.body = h("div", { class: "panel-body", tabindex: 0, role: "region", "aria-label": "What the model reads" });
    this.element = h(
      "div",
      { class: "panel" },
      h(
        "header",
        { class: "head" },
        h("h2", { class: "head-title" }, "What the model reads"),
        h(
          "button",
          {
            type: "button",
            class: "icon-button",
            "data-do": "close-side",
            "aria-label": "Close",
            "data-note": "Close",
          },
          iconOf("close"),
        ),
      ),
      this.body,
    );
    roving(this.body, ".word", { isHorizontal: true, within: '[role="listbox"]' });
    onAction(
      this.body,
      cardActions(session, () => this.#shown()),
    );
  }

  focus() {
    this.body.focus();
  }

  /** Ask what the model would read, unless that is asked again at once. */
  refresh() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#ask(), ASK_AFTER_MS);
  }

  async #ask() {
    const asked = ++this.#asked;
    const { room, threadRoom } = this.store;
    if (room.channel === "" || !this.element.isConnected) return;
    try {
      const request = { channel: room.channel, thread: threadRoom?.thread ?? "" };
      const { answer } = this.session.connection.follow("context", request, (step) => {
        if (asked === this.#asked) this.#draw(h("p", { class: "quiet" }, step.sentence));
      });
      const { card } = await answer;
      if (asked === this.#asked) this.#show(card, "");
    } catch (error) {
      if (asked !== this.#asked || error instanceof Disconnected) return;
      // Nobody asked for it, so that there is nothing to read is no mistake.
      if (error instanceof Refused) this.#draw(h("p", { class: "quiet" }, error.message));
      else this.#show(null, String(error));
    }
  }

  /**
   * @param {Card | null} card
   * @param {string} problem
   */
  #show(card, problem) {
    this.#card = card;
    this.#note.problem = problem;
    this.#draw(card === null ? h("p", { class: "problem" }, problem) : renderCard(card, this.#note));
  }

  /** @param {Node} shown */
  #draw(shown) {
    const wanted = h("div", { class: "panel-body" }, shown);
    for (const { name, value } of this.body.attributes) wanted.setAttribute(name, value);
    morph(this.body, wanted);
    markWide(this.body);
  }

  #shown() {
    if (this.#card === null) return null;
    const { channel, thread } = this.store.room;
    return {
      card: this.#card,
      message: null,
      channel,
      thread,
      note: this.#note,
      changed: () => this.#show(this.#card, this.#note.problem),
    };
  }
}
