/**
 * The menu of a template: what is done seldom.
 *
 * @import {MenuItem} from "../dom/menu.js"
 * @import {Row} from "../wire/types.js"
 * @import {Desk} from "./desk.js"
 */
import { download } from "../cards/acting.js";
import { confirm } from "../dialogs/asking.js";
import { openMenu } from "../dom/menu.js";
import { workbenchAddress } from "../state/route.js";
import { createTemplate, deleteTemplate, importText, tune } from "./acting.js";

/**
 * @param {HTMLElement} button
 * @param {Desk} desk
 * @param {(target: "examples" | "tests", rows: Row[]) => void} append
 */
export function openTemplateMenu(button, desk, append) {
  const { opened } = desk;
  if (opened === null) return;
  const isPublished = opened.published !== null;
  /** @type {MenuItem[]} */
  const items = [
    { label: "Import rows or a file …", icon: "attach", choose: () => void importText(desk, append) },
    { label: "Search for better examples …", icon: "look", choose: () => void tune(desk) },
  ];
  if (isPublished) {
    const copy = () => void createTemplate(desk, desk.name);
    items.push({ label: "Copy the published version …", icon: "add", choose: copy });
  }
  if (opened.source !== "") {
    const save = () => download(`${desk.name}.prompt`, opened.source);
    items.push({ label: "Save as a .prompt file", icon: "download", choose: save });
  }
  if (opened.has_draft) {
    items.push({
      label: "Discard my draft …",
      icon: "remove",
      isDanger: true,
      startsGroup: true,
      choose: () => void discard(desk),
    });
  }
  if (opened.number > 0) {
    items.push({
      label: "Delete the template …",
      icon: "remove",
      isDanger: true,
      choose: () => void deleteTemplate(desk),
    });
  }
  openMenu(button, desk.name, items);
}

/** @param {Desk} desk */
async function discard(desk) {
  const isNew = desk.opened?.published === null;
  const text = isNew
    ? "The template was never published, so nothing of it is left."
    : "Everyone goes on with the published version.";
  const act = () => desk.flush().then(() => desk.ask("discard"));
  const isDone = await confirm({ title: `Discard your draft of ${desk.name}?`, text, action: "Discard", act });
  if (!isDone) return;
  desk.drop();
  if (isNew) location.hash = workbenchAddress(desk.channel);
  else await desk.refresh();
}
