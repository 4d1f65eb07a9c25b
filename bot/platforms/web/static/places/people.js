/**
 * Who speaks in this window: choose another person, or add one.
 *
 * @import {Session} from "../state/session.js"
 * @import {Store} from "../state/store.js"
 * @import {MenuItem} from "../dom/menu.js"
 */
import { askName } from "../dialogs/asking.js";
import { openMenu } from "../dom/menu.js";
import { alarm, speak } from "../dom/speaking.js";
import { sentenceOf } from "../state/session.js";

/**
 * @param {HTMLElement} button
 * @param {Store} store
 * @param {Session} session
 */
export function openPeopleMenu(button, store, session) {
  /** @type {MenuItem[]} */
  const items = store.people.map((person) => ({
    label: person.name,
    help: person.is_moderator ? "moderator" : "member",
    isChosen: person.id === store.me.id,
    choose: () => void become(session, person.id, person.name),
  }));
  if (store.me.is_moderator)
    items.push({ label: "Add a person …", icon: "person", startsGroup: true, choose: () => void addPerson(session) });
  openMenu(button, "Speak as", items);
}

/**
 * @param {Session} session
 * @param {string} id
 * @param {string} name
 */
async function become(session, id, name) {
  try {
    await session.become(id);
    speak(`You speak as ${name} now.`);
  } catch (error) {
    alarm(sentenceOf(error));
  }
}

/** @param {Session} session */
function addPerson(session) {
  return askName({
    title: "Add a person",
    label: "Name",
    action: "Add",
    box: "This person is a moderator",
    act: async (name, isModerator) => {
      const { id } = await session.connection.request("add_person", { name, is_moderator: isModerator });
      await session.become(id);
    },
  });
}
