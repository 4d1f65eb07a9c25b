/**
 * The left column: views, servers with their channels, and who speaks.
 *
 * @import {Channel, Server} from "../wire/types.js"
 * @import {Session} from "../state/session.js"
 * @import {Store} from "../state/store.js"
 * @import {MenuItem} from "../dom/menu.js"
 */
import { askName, confirm } from "../dialogs/asking.js";
import { h, morph, onAction } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";
import { openMenu } from "../dom/menu.js";
import { makeStop, roving } from "../dom/roving.js";
import { face } from "../messages/message.js";
import { channelAddress } from "../state/route.js";
import { openPeopleMenu } from "./people.js";

export class Places {
  /**
   * @param {HTMLElement} element
   * @param {Store} store
   * @param {Session} session
   */
  constructor(element, store, session) {
    this.element = element;
    this.store = store;
    this.session = session;
    // What is drawn again; an open menu is beside it.
    this.content = h("div", { class: "places-content" });
    element.append(this.content);
    roving(element, ".place-link");
    element.addEventListener("keydown", (event) => this.#pressed(event));
    onAction(element, {
      "add-server": () => this.#addServer(),
      server: (button) => this.#openServerMenu(button),
      channel: (button) => this.#openChannelMenu(button),
      people: (button) => openPeopleMenu(button, store, session),
    });
  }

  update() {
    const { store } = this;
    const wanted = h(
      "div",
      { class: "places-content" },
      this.#head(),
      h(
        "div",
        { class: "places-list" },
        store.servers.map((server) => this.#server(server)),
        store.me.is_moderator &&
          h("button", { type: "button", class: "add-server", "data-do": "add-server" }, iconOf("add"), "New server"),
      ),
      store.isWelcome &&
        h(
          "div",
          { class: "places-foot" },
          h(
            "button",
            { type: "button", class: "me", "data-do": "people", "aria-haspopup": "menu" },
            face(store.me.id, store.me.name, false),
            h(
              "span",
              { class: "me-name" },
              h("span", { class: "unseen" }, "You are "),
              h("bdi", { class: "one-line" }, store.me.name),
              h("small", { class: "quiet" }, store.me.is_moderator ? "moderator" : "member"),
            ),
            iconOf("down"),
          ),
        ),
    );
    const focused = document.activeElement;
    // An open menu's button is told by the menu that it is open.
    for (const open of this.element.querySelectorAll('[aria-expanded="true"]')) {
      wanted
        .querySelector(`[data-key="${CSS.escape(/** @type {HTMLElement} */ (open).dataset.key ?? "")}"]`)
        ?.setAttribute("aria-expanded", "true");
    }
    morph(this.content, wanted);
    const current = this.element.querySelector('[aria-current="page"]');
    const inside =
      focused instanceof HTMLElement && this.element.contains(focused) ? focused.closest(".place-link") : null;
    makeStop(this.element, ".place-link", /** @type {HTMLElement | null} */ (inside ?? current));
  }

  #head() {
    const { store } = this;
    return h(
      "div",
      { class: "places-head" },
      h("p", { class: "product" }, h("bdi", {}, store.botName)),
      h("p", { class: "quiet model", dir: "auto", title: store.model }, store.model),
      viewLink("#/write", "Write", store.view === "write", "write"),
      viewLink("#/look", "Look", store.view === "look", "look"),
      viewLink("#/workbench", "Workbench", store.view === "workbench", "workbench"),
    );
  }

  /** @param {Server} server */
  #server(server) {
    const id = `server-${server.id}`;
    return h(
      "section",
      { class: "server", "data-key": id, "aria-labelledby": id },
      h(
        "div",
        { class: "server-head" },
        h("h2", { class: "one-line", id }, h("bdi", {}, server.name)),
        this.#canChange(server) &&
          h(
            "button",
            {
              type: "button",
              class: "icon-button",
              "data-key": "menu",
              "data-do": "server",
              "data-server": server.id,
              "aria-haspopup": "menu",
              "aria-label": `Server ${server.name}`,
            },
            iconOf("more"),
          ),
      ),
      h(
        "ul",
        {},
        server.channels.map((channel) => this.#channel(server, channel)),
      ),
    );
  }

  /** @param {Server} server */
  #canChange(server) {
    return this.store.me.is_moderator && !server.is_direct;
  }

  /**
   * @param {Server} server
   * @param {Channel} channel
   */
  #channel(server, channel) {
    const { store } = this;
    const isOpen = store.view === "chat" && store.room.channel === channel.id;
    return h(
      "li",
      {
        class: isOpen ? "channel is-open" : "channel",
        "data-key": channel.id,
        "data-server": server.id,
        "data-channel": channel.id,
      },
      h(
        "a",
        { class: "place-link", href: channelAddress(channel.id), "aria-current": isOpen ? "page" : null },
        h("span", { class: "sign", "aria-hidden": "true" }, server.is_direct ? "@" : "#"),
        h("bdi", { class: "one-line" }, channel.name),
      ),
      this.#canChange(server) &&
        h(
          "button",
          {
            type: "button",
            class: "icon-button",
            "data-key": `menu ${channel.id}`,
            "data-do": "channel",
            "aria-haspopup": "menu",
            "aria-label": `Channel ${channel.name}`,
          },
          iconOf("more"),
        ),
    );
  }

  /** @param {HTMLElement} button */
  #openServerMenu(button) {
    const server = this.store.servers.find((one) => one.id === button.dataset.server);
    if (server === undefined) return;
    openMenu(button, `Server ${server.name}`, [
      { label: "New channel …", icon: "add", choose: () => this.#addChannel(server) },
      { label: "New server …", icon: "add", choose: () => this.#addServer() },
      { label: "Rename …", icon: "edit", startsGroup: true, choose: () => this.#rename("server", server) },
      { label: "Delete …", icon: "remove", isDanger: true, choose: () => this.#remove("server", server) },
    ]);
  }

  /** @param {HTMLElement} button */
  #openChannelMenu(button) {
    const found = this.#channelAt(button);
    if (found === null) return;
    const { server, channel } = found;
    /** @type {MenuItem[]} */
    const items = [
      { label: "Rename …", icon: "edit", choose: () => this.#rename("channel", channel) },
      { label: "New channel …", icon: "add", choose: () => this.#addChannel(server) },
      {
        label: "Delete …",
        icon: "remove",
        isDanger: true,
        startsGroup: true,
        choose: () => this.#remove("channel", channel),
      },
    ];
    openMenu(button, `Channel ${channel.name}`, items);
  }

  /** @param {Element} element */
  #channelAt(element) {
    return this.store.findChannel(element.closest("[data-channel]")?.getAttribute("data-channel") ?? "");
  }

  #addServer() {
    const act = (/** @type {string} */ name) => this.session.connection.request("add_server", { name });
    return askName({ title: "New server", label: "Name", action: "Create", act });
  }

  /** @param {Server} server */
  #addChannel(server) {
    const act = async (/** @type {string} */ name) => {
      const { id } = await this.session.connection.request("add_channel", { server: server.id, name });
      location.hash = channelAddress(id);
    };
    return askName({ title: `New channel in ${server.name}`, label: "Name", action: "Create", act });
  }

  /**
   * @param {"server" | "channel"} kind
   * @param {{id: string, name: string}} place
   */
  #rename(kind, place) {
    const act = (/** @type {string} */ name) =>
      this.session.connection.request(`rename_${kind}`, { id: place.id, name });
    return askName({ title: `Rename ${place.name}`, label: "Name", value: place.name, action: "Rename", act });
  }

  /**
   * @param {"server" | "channel"} kind
   * @param {{id: string, name: string}} place
   */
  #remove(kind, place) {
    const what =
      kind === "server" ? "Its channels and all their messages are deleted." : "All its messages are deleted.";
    const act = () => this.session.connection.request(`remove_${kind}`, { id: place.id });
    return confirm({ title: `Delete ${place.name}?`, text: `${what} This can't be undone.`, action: "Delete", act });
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const link = event.target instanceof Element ? event.target.closest(".channel .place-link") : null;
    const found = link === null ? null : this.#channelAt(link);
    if (found === null || !this.#canChange(found.server)) return;
    if (event.key === "F2") void this.#rename("channel", found.channel);
    else if (event.key === "Delete") void this.#remove("channel", found.channel);
    else return;
    event.preventDefault();
  }
}

/**
 * @param {string} address
 * @param {string} label
 * @param {boolean} isCurrent
 * @param {import("../dom/icons.js").IconName} icon
 */
function viewLink(address, label, isCurrent, icon) {
  return h("a", { class: "place-link", href: address, "aria-current": isCurrent ? "page" : null }, iconOf(icon), label);
}
