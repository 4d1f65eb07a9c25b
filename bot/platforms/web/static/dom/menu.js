/**
 * Menus that open at a button: arrow keys, first letters, Enter, Esc.
 *
 * @import {IconName} from "./icons.js"
 */
import { h } from "./elements.js";
import { iconOf } from "./icons.js";

/**
 * `is_chosen` makes it one of several that exclude each other.
 *
 * @typedef {{
 *   label: string, help?: string, icon?: IconName, isDanger?: boolean, isChosen?: boolean | undefined,
 *   startsGroup?: boolean, choose: () => void,
 * }} MenuItem
 */

const MARGIN = 8;

/** @type {{menu: HTMLElement, close: (returnsFocus: boolean) => void} | null} */
let open = null;

/**
 * Open a menu below (or above) `button`. The focus comes back to it.
 *
 * @param {HTMLElement} button
 * @param {string} label
 * @param {MenuItem[]} items
 */
export function openMenu(button, label, items) {
  const wasOpenHere = button.getAttribute("aria-expanded") === "true";
  open?.close(false);
  if (wasOpenHere) return;
  const menu = h("div", { class: "menu", role: "menu", "aria-label": label, popover: "manual" });
  for (const [i, item] of items.entries()) {
    if (item.startsGroup) menu.append(h("hr", {}));
    menu.append(itemButton(item, i));
  }
  // Outside a dialog, or what is not covered, nothing can be reached.
  (button.closest("dialog, nav, main, aside") ?? document.body).append(menu);
  menu.showPopover?.();
  place(menu, button.getBoundingClientRect());
  button.setAttribute("aria-expanded", "true");

  /** @param {boolean} returnsFocus */
  const close = (returnsFocus) => {
    open = null;
    document.removeEventListener("pointerdown", outside, true);
    window.removeEventListener("resize", away);
    button.setAttribute("aria-expanded", "false");
    menu.remove();
    if (returnsFocus) button.focus();
  };
  /** @param {Event} event */
  const outside = (event) => {
    if (event.target instanceof Node && !menu.contains(event.target) && !button.contains(event.target)) close(false);
  };
  const away = () => close(false);
  document.addEventListener("pointerdown", outside, true);
  window.addEventListener("resize", away);
  open = { menu, close };

  menu.addEventListener("click", (event) => {
    const chosen = event.target instanceof Element ? event.target.closest("[data-at]") : null;
    if (!(chosen instanceof HTMLElement)) return;
    close(true);
    items[Number(chosen.dataset.at)]?.choose();
  });
  menu.addEventListener("keydown", (event) => pressed(event, menu, close));
  const buttons = itemsOf(menu);
  (buttons.find((one) => one.getAttribute("aria-checked") === "true") ?? buttons[0])?.focus();
}

/**
 * @param {MenuItem} item
 * @param {number} at
 */
function itemButton(item, at) {
  const isRadio = item.isChosen !== undefined;
  return h(
    "button",
    {
      type: "button",
      class: item.isDanger ? "menu-item is-danger" : "menu-item",
      role: isRadio ? "menuitemradio" : "menuitem",
      "aria-checked": isRadio ? String(item.isChosen) : null,
      tabindex: -1,
      "data-at": at,
    },
    item.isChosen ? iconOf("check") : item.icon !== undefined && iconOf(item.icon),
    h("bdi", {}, item.label),
    item.help ? h("small", { dir: "auto" }, item.help) : null,
  );
}

/** @param {HTMLElement} menu */
function itemsOf(menu) {
  return /** @type {HTMLElement[]} */ ([...menu.querySelectorAll("[data-at]")]);
}

/**
 * @param {KeyboardEvent} event
 * @param {HTMLElement} menu
 * @param {(returnsFocus: boolean) => void} close
 */
function pressed(event, menu, close) {
  const items = itemsOf(menu);
  const at = items.findIndex((one) => one === document.activeElement);
  /** @type {HTMLElement | undefined} */
  let next;
  if (event.key === "ArrowDown") next = items[(at + 1) % items.length];
  else if (event.key === "ArrowUp") next = items.at(at <= 0 ? -1 : at - 1);
  else if (event.key === "Home") next = items[0];
  else if (event.key === "End") next = items.at(-1);
  else if (event.key === "Escape" || event.key === "Tab") {
    close(true);
  } else if (event.key.length === 1 && event.key !== " ") {
    const letter = event.key.toLowerCase();
    const following = [...items.slice(at + 1), ...items.slice(0, at + 1)];
    next = following.find((one) => one.textContent.trim().toLowerCase().startsWith(letter));
  } else return;
  event.preventDefault();
  event.stopPropagation();
  next?.focus();
}

/**
 * Put an element at another one, where it fits into the window.
 *
 * @param {HTMLElement} element
 * @param {DOMRect} at
 */
export function place(element, at) {
  const { width, height } = element.getBoundingClientRect();
  const left = Math.min(at.left, innerWidth - width - MARGIN);
  const isBelow = at.bottom + 4 + height <= innerHeight - MARGIN || at.top - 4 - height < MARGIN;
  const top = isBelow ? Math.min(at.bottom + 4, innerHeight - height - MARGIN) : at.top - 4 - height;
  element.style.left = `${Math.max(MARGIN, left)}px`;
  element.style.top = `${Math.max(MARGIN, top)}px`;
}
