/**
 * A conversation: its head, its messages and the composer. The channel is one, an open thread another.
 *
 * @import {Room} from "../state/room.js"
 * @import {Session} from "../state/session.js"
 * @import {Store} from "../state/store.js"
 */
import { Composer } from "../composer/composer.js";
import { takeDrops } from "../composer/extras.js";
import { h } from "../dom/elements.js";
import { MessageList } from "../messages/list.js";
import { channelAddress } from "../state/route.js";

export class Chat {
  /**
   * @param {Store} store
   * @param {Session} session
   * @param {HTMLElement} head
   */
  constructor(store, session, head) {
    this.store = store;
    this.list = new MessageList(store, session, {
      reply: (message) => this.composer.replyTo(message),
      openThread: (id) => {
        location.hash = channelAddress(store.room.channel, id);
      },
      takeBack: (text) => this.composer.takeBack(text),
      leave: () => this.composer.focus(),
    });
    this.composer = new Composer(store, session, {
      editLast: () => this.list.editLast(),
      toMessages: () => this.list.focusLast(),
      sent: () => this.list.showNewest(),
    });
    this.element = h("section", { class: "view" }, head, this.list.element, this.composer.element);
    takeDrops(this.element, (event, data) => this.composer.offered(event, data));
  }

  /**
   * @param {Room} room
   * @param {string} name How the place is called.
   */
  update(room, name) {
    this.element.setAttribute("aria-label", name);
    this.composer.moveTo(room.channel, room.thread, room.thread === "" ? `Message ${name}` : "Reply in the thread");
    this.list.update(room, `Messages in ${name}`);
  }
}
