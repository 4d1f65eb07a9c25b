/** The page: the store, the connection, and the views, which are drawn again when something changed. */
import { byId, h, onAction } from "./dom/elements.js";
import { iconOf } from "./dom/icons.js";
import { showNotes } from "./dom/note.js";
import { openForm } from "./dialogs/form.js";
import { speakMessage } from "./messages/list.js";
import { Chat } from "./panels/chat.js";
import { ContextPanel } from "./panels/context.js";
import { showConnection } from "./panels/connection.js";
import { Look } from "./look/look.js";
import { Places } from "./places/places.js";
import { keep, readKept } from "./state/kept.js";
import { channelAddress, readRoute } from "./state/route.js";
import { Session } from "./state/session.js";
import { Store } from "./state/store.js";
import { Workbench } from "./workbench/workbench.js";
import { Write } from "./write/write.js";

/** Below this width what is left and right is a drawer over the messages. */
const NARROW_PX = 700;

const store = new Store();
const session = new Session(store);

const app = byId("app");
const main = byId("main");
const side = byId("side");
const shade = byId("shade");
const nav = byId("places");
const places = new Places(nav, store, session);
const title = h("h1", { class: "head-title one-line" });
const threadTitle = h("h2", { class: "head-title one-line" }, "Thread");
const contextButton = h(
  "button",
  {
    type: "button",
    class: "icon-button",
    "data-do": "context",
    "aria-label": "What the model reads",
    "data-note": "What the model reads",
    "aria-pressed": "false",
  },
  iconOf("context"),
);
const chat = new Chat(store, session, h("header", { class: "head" }, menuButton(), title, contextButton));
const thread = new Chat(store, session, h("header", { class: "head" }, threadTitle, closeButton("Close the thread")));
const context = new ContextPanel(store, session);
const write = new Write(store, session, menuButton());
const look = new Look(store, session, menuButton());
const workbench = new Workbench(store, session, menuButton());
const titles = { write: "Write", look: "Look", workbench: "Workbench" };

/** Whether the panel of the right column is wanted. On narrow windows it covers the messages. */
let isContextOpen = readKept("context") === "" ? innerWidth >= 1100 : readKept("context") === "open";
let areToolsOpen = readKept("tools") === "" ? innerWidth >= 1100 : readKept("tools") === "open";

function menuButton() {
  return h(
    "button",
    {
      type: "button",
      class: "icon-button only-narrow",
      "data-do": "menu",
      "aria-label": "Servers and channels",
      "aria-expanded": "false",
    },
    iconOf("menu"),
  );
}

/** @param {string} label */
function closeButton(label) {
  return h(
    "button",
    { type: "button", class: "icon-button", "data-do": "close-side", "aria-label": label, "data-note": label },
    iconOf("close"),
  );
}

/** Go where the address says, or to the first channel. */
function follow() {
  const route = readRoute();
  store.view = route.view;
  store.changed("view");
  if (!store.isWelcome || route.view !== "chat") return;
  if (store.findChannel(route.channel) === null) {
    const known = store.findChannel(store.room.channel) ?? firstChannel();
    if (known === null) void session.open("", "");
    else location.replace(channelAddress(known.channel.id));
  } else if (route.channel !== store.room.channel || route.thread !== (store.threadRoom?.thread ?? "")) {
    void session.open(route.channel, route.thread);
    context.refresh();
  }
}

function firstChannel() {
  for (const server of store.servers) for (const channel of server.channels) return { server, channel };
  return null;
}

/** @param {Set<import("./state/store.js").Topic>} topics */
function draw(topics) {
  workbench.update(topics);
  if (topics.has("connection")) showConnection(store, session);
  if (topics.has("places") && store.isWelcome) follow();
  if (["places", "me", "people", "place", "view", "connection"].some((one) => topics.has(/** @type {any} */ (one))))
    places.update();
  const views = { write: write.element, look: look.element, chat: chat.element, workbench: workbench.element };
  const shown = views[store.view];
  if (main.firstElementChild !== shown) main.replaceChildren(shown);
  drawSide();
  if (store.view !== "chat") {
    document.title = `${titles[store.view]} – ${store.botName}`;
    return;
  }
  const found = store.findChannel(store.room.channel);
  const name = found === null ? "" : found.server.is_direct ? found.channel.name : `#${found.channel.name}`;
  document.title = name === "" ? store.botName : `${name} – ${store.botName}`;
  title.replaceChildren(h("bdi", {}, name), " ", h("span", { class: "quiet" }, h("bdi", {}, found?.server.name ?? "")));
  chat.update(store.room, name);
  if (store.threadRoom !== null) thread.update(store.threadRoom, `a thread in ${name}`);
  if (topics.has("me") || topics.has("place")) context.refresh();
}

/** Return what the right column has in this view, whether it is shown, and where the focus goes. */
function sideOfView() {
  if (store.view === "write") {
    return { panel: write.tools, label: "Tools", isOpen: areToolsOpen, focus: write.tools, main: write };
  }
  const { composer } = chat;
  if (store.threadRoom !== null)
    return { panel: thread, label: "Thread", isOpen: true, focus: thread.composer, main: composer };
  return { panel: context, label: "Details", isOpen: isContextOpen, focus: context, main: composer };
}

function drawSide() {
  const { panel, label, focus, main: back, ...wanted } = sideOfView();
  const isOpen = wanted.isOpen && (store.view === "chat" || store.view === "write");
  const wasFocused = side.contains(document.activeElement);
  const isNew = isOpen && (side.hidden || side.firstElementChild !== panel.element);
  side.hidden = !isOpen;
  side.setAttribute("aria-label", label);
  contextButton.setAttribute("aria-pressed", String(isOpen && panel === context));
  write.showTools(isOpen && panel === write.tools);
  if (side.firstElementChild !== panel.element) side.replaceChildren(panel.element);
  drawShade();
  if (isNew && panel === context) context.refresh();
  // The focus goes into what opens over the messages, and comes back from what closes.
  if (isNew && (panel === thread || innerWidth < NARROW_PX)) focus.focus();
  else if (wasFocused && !side.contains(document.activeElement)) back.focus();
}

function closeSide() {
  if (store.view === "write") setTools(false);
  else if (store.threadRoom !== null) location.hash = channelAddress(store.room.channel);
  else setContext(false);
}

/** @param {boolean} isOpen */
function setContext(isOpen) {
  isContextOpen = isOpen;
  keep("context", isOpen ? "open" : "closed");
  store.changed("view");
  if (isOpen) context.refresh();
}

/** @param {boolean} isOpen */
function setTools(isOpen) {
  areToolsOpen = isOpen;
  keep("tools", isOpen ? "open" : "closed");
  drawSide();
}

/** @param {boolean} isOpen */
function showDrawer(isOpen) {
  const wasOpen = nav.classList.contains("is-open");
  nav.classList.toggle("is-open", isOpen);
  for (const button of document.querySelectorAll('[data-do="menu"]')) {
    button.setAttribute("aria-expanded", String(isOpen));
  }
  drawShade();
  const goal = isOpen ? nav.querySelector('.place-link[tabindex="0"]') : main.querySelector('[data-do="menu"]');
  if (goal instanceof HTMLElement && isOpen !== wasOpen) goal.focus();
}

/** What a drawer covers can't be reached. */
function drawShade() {
  const isNavOpen = nav.classList.contains("is-open");
  const isSideOver = !side.hidden && innerWidth < NARROW_PX;
  shade.hidden = !isNavOpen && !isSideOver;
  main.inert = isNavOpen || isSideOver;
  side.inert = isNavOpen;
  byId("skip").inert = !shade.hidden;
}

onAction(app, {
  menu: () => showDrawer(!nav.classList.contains("is-open")),
  "close-side": closeSide,
  context: () => {
    if (store.threadRoom !== null) location.hash = channelAddress(store.room.channel);
    setContext(store.threadRoom !== null || !isContextOpen);
  },
});
shade.addEventListener("click", () => {
  if (nav.classList.contains("is-open")) showDrawer(false);
  else closeSide();
});
app.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented) return;
  if (nav.classList.contains("is-open")) showDrawer(false);
  else if (event.target instanceof Node && side.contains(event.target)) closeSide();
});
window.addEventListener("hashchange", () => {
  showDrawer(false);
  follow();
});
window.addEventListener("resize", drawShade);
window.addEventListener("online", () => session.connection.connect());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && store.connection === "waiting") session.connection.connect();
});

write.onTools = setTools;
session.onForm = (event) => void openForm(session, event);
session.onFinished = (message) => {
  if (message.author.id !== store.me.id) speakMessage(message);
  context.refresh();
};
store.subscribe(draw);
store.view = readRoute().view;
showNotes();
store.changed("view", "connection");
session.connection.connect();
