/** The strokes of the icons, each in a square of 20. */
import { icon } from "./elements.js";

const PATHS = {
  add: "M10 4v12M4 10h12",
  attach: "M13.5 6.5 7.8 12.2a1.4 1.4 0 0 0 2 2l5.7-5.7a3 3 0 0 0-4.3-4.3L5.4 10a4.6 4.6 0 0 0 6.5 6.5l4-4",
  branches: "M6 4v12M6 10h3.5a4 4 0 0 0 4-4V4M4 6l2-2 2 2M11.5 6l2-2 2 2",
  back: "m11.5 5-5 5 5 5",
  chat: "M3.5 5h13v9h-7l-3.5 3v-3h-2.5z",
  check: "m4.5 10.5 3.5 3.5 7.5-8",
  close: "m5 5 10 10M15 5 5 15",
  columns: "M3.5 4h13v12h-13zM8 4v12M12 4v12",
  context: "M4 4.5h12M4 8.2h12M4 11.9h8M4 15.5h5",
  down: "m5 8 5 5 5-5",
  download: "M10 3.5v9M6 9l4 4 4-4M4 16.5h12",
  edit: "m12.5 4.5 3 3L7 16l-3.7.7L4 13z",
  file: "M5.5 3h6l3 3v11h-9zM11.5 3v3h3",
  look: "M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11zM13 13l4 4",
  menu: "M3.5 5.5h13M3.5 10h13M3.5 14.5h13",
  more: "M4.5 10h.01M10 10h.01M15.5 10h.01",
  person: "M10 10a3.2 3.2 0 1 0 0-6.4A3.2 3.2 0 0 0 10 10zM4 17c.6-3.2 3-4.6 6-4.6s5.4 1.4 6 4.6",
  remove: "M4 6h12M8 6V4h4v2M6 6l.7 10.5h6.6L14 6",
  reply: "M8 5 3.5 9.5 8 14M3.5 9.5H12a4.5 4.5 0 0 1 4.5 4.5v1.5",
  send: "M3.5 10 16.5 4l-4 12.5-3-5z",
  stop: "M6 6h8v8H6z",
  thread: "M4 5h12M4 9h12M8 13h8M5 12v2.5",
  tint: "M10 3.5c2.6 3 4.6 5.4 4.6 8a4.6 4.6 0 0 1-9.2 0c0-2.6 2-5 4.6-8zM10 13.8a2.3 2.3 0 0 0 2.3-2.3",
  undo: "M7.5 5 4 8.5 7.5 12M4 8.5h7.5a4 4 0 0 1 0 8H8",
  up: "m5 12 5-5 5 5",
  workbench: "M3.5 4.5h13v11h-13zM3.5 8.5h13M8 8.5v7",
  write: "M4 16h12M5.5 12.5 13 5l2 2-7.5 7.5-2.5.5z",
};

/** @typedef {keyof typeof PATHS} IconName */

/** @param {IconName} name */
export function iconOf(name) {
  return icon(PATHS[name]);
}
