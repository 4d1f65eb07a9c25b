/**
 * A table of rows that is edited in place like a spreadsheet: Enter, Tab and arrows move, pasted cells fill it.
 *
 * @import {Row} from "../wire/types.js"
 * @import {Cell} from "./cells.js"
 */
import { h } from "../dom/elements.js";
import { iconOf } from "../dom/icons.js";
import { openMenu } from "../dom/menu.js";
import { speak } from "../dom/speaking.js";
import { cellOf, isAtEnd, isAtStart, isEmpty, markUnknown, setCell } from "./cells.js";
import { cellsOf, formatOfText } from "./pasting.js";

/** @typedef {{at: number, part: number, cell: Cell}} Place */

const PARTS = ["input", "output"];
const MAX_UNDONE = 20;
/** More than a template can have. */
const MAX_ROWS = 2000;

export class RowTable {
  /** @type {Row[]} */
  rows = [];
  /** The labels of which the output is one; none for free text. @type {string[]} */
  labels = [];
  isReadOnly = false;
  /** What was removed last. @type {{at: number, row: Row}[]} */
  #removed = [];

  /**
   * @param {string} what "example" or "test".
   * @param {string} help
   * @param {{
   *   changed: (rows: Row[]) => void,
   *   read: (text: string, format: string) => Promise<Row[]>,
   * }} listener `read` reads a pasted table, and rejects if it is none.
   */
  constructor(what, help, listener) {
    this.what = what;
    this.listener = listener;
    this.body = h("tbody", {});
    this.count = h("span", { class: "quiet" });
    const title = `${what.charAt(0).toUpperCase()}${what.slice(1)}s`;
    this.undo = h("button", { type: "button", class: "button", hidden: true }, "Undo the removal");
    this.add = h(
      "button",
      { type: "button", class: "button" },
      iconOf("add"),
      `Add ${/^[aeiou]/.test(what) ? "an" : "a"} ${what}`,
    );
    this.problem = h("p", { class: "problem", role: "alert", hidden: true });
    this.tools = h("div", { class: "bench-tools" }, this.add, this.undo, this.problem);
    this.element = h(
      "section",
      { class: "bench-rows", "aria-label": title },
      h("h3", {}, title, " ", this.count),
      h("p", { class: "help" }, help),
      h(
        "table",
        { class: "row-table" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col", class: "row-number" }, h("span", { class: "unseen" }, "Number")),
            h("th", { scope: "col" }, "Input"),
            h("th", { scope: "col" }, "Right answer"),
            h("td", {}),
          ),
        ),
        this.body,
      ),
      this.tools,
    );
    this.add.addEventListener("click", () => this.#insert(this.rows.length, ["", ""], 0));
    this.undo.addEventListener("click", () => this.#undoRemoval());
    this.body.addEventListener("input", (event) => this.#typed(event.target));
    this.body.addEventListener("keydown", (event) => this.#pressed(event));
    this.body.addEventListener("paste", (event) => void this.#pasted(event));
    this.body.addEventListener("click", (event) => this.#clicked(event));
  }

  /**
   * Show other rows. Cells that stay keep the focus.
   *
   * @param {Row[]} rows
   * @param {string[]} labels
   * @param {boolean} isReadOnly
   */
  show(rows, labels, isReadOnly) {
    const isSameKind = labels.join("\n") === this.labels.join("\n") && isReadOnly === this.isReadOnly;
    this.rows = rows.map(([input, output]) => [input, output]);
    this.labels = labels;
    this.isReadOnly = isReadOnly;
    this.tools.hidden = isReadOnly;
    const focus = isSameKind ? null : this.#place(document.activeElement);
    if (!isSameKind) this.body.replaceChildren();
    while (this.body.rows.length > rows.length) this.body.lastElementChild?.remove();
    for (const [i, row] of this.rows.entries()) {
      const line = this.body.rows[i];
      if (line === undefined) this.body.append(this.#line(i, row));
      else for (const part of [0, 1]) setCell(cellOf(line, part), row[part] ?? "", this.labels);
    }
    if (focus !== null) this.focus(focus.at, focus.part);
    this.#showCount();
  }

  /**
   * @param {number} at
   * @param {number} part 0 for the input, 1 for the output.
   */
  focus(at, part) {
    const line = this.body.rows[Math.max(0, Math.min(this.rows.length - 1, at))];
    if (line !== undefined) cellOf(line, part).focus();
  }

  /** Add rows below the others; empty ones at the end are replaced. @param {Row[]} rows */
  append(rows) {
    const kept = [...this.rows];
    while (kept.length > 0 && isEmpty(/** @type {Row} */ (kept.at(-1)))) kept.pop();
    this.#change([...kept, ...rows]);
    speak(`${rows.length} rows added.`);
  }

  /**
   * @param {number} at
   * @param {Row} row
   */
  #line(at, row) {
    const name = `${this.what} ${at + 1}`;
    return h(
      "tr",
      {},
      h("th", { scope: "row", class: "row-number" }, String(at + 1)),
      h("td", {}, this.#cell(row[0], `Input of ${name}`, [])),
      h("td", {}, this.#cell(row[1], `Right answer of ${name}`, this.labels)),
      h(
        "td",
        {},
        !this.isReadOnly &&
          h(
            "button",
            {
              type: "button",
              class: "icon-button",
              tabindex: -1,
              "data-do": "row",
              "aria-haspopup": "menu",
              "aria-label": `${name}: more`,
            },
            iconOf("more"),
          ),
      ),
    );
  }

  /**
   * @param {string} value
   * @param {string} label
   * @param {string[]} labels
   * @returns {Cell}
   */
  #cell(value, label, labels) {
    if (labels.length > 0 && !this.isReadOnly) {
      const select = h("select", { class: "row-cell", "aria-label": label });
      setCell(select, value, labels);
      return select;
    }
    const area = h("textarea", {
      class: "row-cell",
      rows: 1,
      dir: "auto",
      "aria-label": label,
      readonly: this.isReadOnly,
    });
    area.value = value;
    return area;
  }

  /** @param {Row[]} rows */
  #change(rows) {
    this.show(rows, this.labels, this.isReadOnly);
    this.listener.changed(this.rows);
  }

  /**
   * @param {number} at
   * @param {Row} row
   * @param {number} part
   */
  #insert(at, row, part) {
    this.#change(this.rows.toSpliced(at, 0, row));
    this.focus(at, part);
  }

  /** @param {number} at */
  #remove(at) {
    const row = this.rows[at];
    if (row === undefined) return;
    this.#removed = [...this.#removed, { at, row }].slice(-MAX_UNDONE);
    this.#change(this.rows.toSpliced(at, 1));
    this.undo.hidden = false;
    if (this.rows.length > 0) this.focus(at, 0);
    else this.add.focus();
    speak(`Row ${at + 1} is removed.`);
  }

  #undoRemoval() {
    const last = this.#removed.pop();
    this.undo.hidden = this.#removed.length === 0;
    if (last === undefined) return;
    this.#insert(Math.min(last.at, this.rows.length), last.row, 0);
  }

  /**
   * @param {number} at
   * @param {number} part
   * @param {1 | -1} step
   */
  #move(at, part, step) {
    const row = this.rows[at];
    const to = at + step;
    if (row === undefined || to < 0 || to >= this.rows.length) return;
    this.#change(this.rows.toSpliced(at, 1).toSpliced(to, 0, row));
    this.focus(to, part);
  }

  /** @param {EventTarget | null} target */
  #typed(target) {
    const place = this.#place(target);
    if (place === null) return;
    const row = /** @type {Row} */ ([...(this.rows[place.at] ?? ["", ""])]);
    row[place.part] = place.cell.value;
    this.rows = this.rows.with(place.at, row);
    if (place.cell instanceof HTMLSelectElement) markUnknown(place.cell, this.labels);
    this.#showCount();
    this.listener.changed(this.rows);
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const place = this.#place(event.target);
    if (place === null || event.isComposing || this.isReadOnly) return;
    const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (!(isPlain ? this.#goes(place, event) : this.#changes(place, event))) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /**
   * Change the rows by a key; return whether it does that.
   *
   * @param {Place} place
   * @param {KeyboardEvent} event
   */
  #changes({ at, part }, event) {
    if (event.altKey && event.key === "ArrowUp") this.#move(at, part, -1);
    else if (event.altKey && event.key === "ArrowDown") this.#move(at, part, 1);
    else if (event.ctrlKey && event.key === "Delete") this.#remove(at);
    else return false;
    return true;
  }

  /**
   * Go to another cell by a key; return whether it does that.
   *
   * @param {Place} place
   * @param {KeyboardEvent} event
   */
  #goes({ at, part, cell }, event) {
    const isLast = at === this.rows.length - 1;
    if (event.shiftKey) return false;
    if (event.key === "Enter") this.#next(at, part);
    else if (event.key === "Tab" && part === 1) {
      // From an empty last row Tab goes on to the page; a filled one is followed by a new one.
      if (isLast && isEmpty(/** @type {Row} */ (this.rows[at]))) return false;
      this.#next(at, 1);
      this.focus(at + 1, 0);
    } else if (event.key === "ArrowUp" && at > 0 && isAtStart(cell)) this.focus(at - 1, part);
    else if (event.key === "ArrowDown" && !isLast && isAtEnd(cell)) this.focus(at + 1, part);
    else return false;
    return true;
  }

  /**
   * Go to the row below, a new one after the last.
   *
   * @param {number} at
   * @param {number} part
   */
  #next(at, part) {
    if (at < this.rows.length - 1) this.focus(at + 1, part);
    else if (!isEmpty(/** @type {Row} */ (this.rows[at]))) this.#insert(at + 1, ["", ""], part === 1 ? 0 : part);
  }

  /** @param {ClipboardEvent} event */
  async #pasted(event) {
    const place = this.#place(event.target);
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (place === null || this.isReadOnly || !/[\t\n]/.test(text.trim())) return;
    event.preventDefault();
    const { at, part } = place;
    if (!this.#hasRoom(at + text.trimEnd().split("\n").length)) return;
    /** @type {Row[]} */
    let read = [];
    if (part === 0) read = await this.listener.read(text, formatOfText(text)).catch(() => []);
    if (read.length > 0) this.#fill(at, 0, read);
    else this.#fill(at, part, cellsOf(text));
  }

  /** Say whether there is room for so many rows, and if not, tell. @param {number} num */
  #hasRoom(num) {
    const hasRoom = num <= MAX_ROWS;
    this.problem.hidden = hasRoom;
    this.problem.textContent = hasRoom
      ? ""
      : `That makes ${num.toLocaleString("en")} rows, at most ${MAX_ROWS.toLocaleString("en")}. Paste a part of them.`;
    return hasRoom;
  }

  /**
   * Put cells into the rows from a place on, as a spreadsheet does.
   *
   * @param {number} at
   * @param {number} part
   * @param {string[][]} cells
   */
  #fill(at, part, cells) {
    const rows = [...this.rows];
    for (const [i, line] of cells.entries()) {
      const row = /** @type {Row} */ ([...(rows[at + i] ?? ["", ""])]);
      for (const [j, cell] of line.entries()) if (part + j < 2) row[part + j] = cell;
      rows[at + i] = row;
    }
    this.#change(rows);
    this.focus(at + cells.length - 1, part);
    speak(`${cells.length} rows filled.`);
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const button = event.target instanceof Element ? event.target.closest("[data-do=row]") : null;
    if (!(button instanceof HTMLButtonElement)) return;
    const at = [...this.body.rows].findIndex((line) => line.contains(button));
    openMenu(button, `${this.what} ${at + 1}`, [
      { label: "Insert a row above", icon: "add", choose: () => this.#insert(at, ["", ""], 0) },
      { label: "Move up", help: "Alt+↑", icon: "up", choose: () => this.#move(at, 0, -1) },
      { label: "Move down", help: "Alt+↓", icon: "down", choose: () => this.#move(at, 0, 1) },
      { label: "Remove", help: "Ctrl+Delete", icon: "remove", isDanger: true, choose: () => this.#remove(at) },
    ]);
  }

  /** @param {EventTarget | null} target */
  #place(target) {
    if (!(target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement)) return null;
    const at = [...this.body.rows].findIndex((line) => line.contains(target));
    if (at < 0) return null;
    return {
      at,
      part: PARTS.findIndex((_, i) => cellOf(/** @type {any} */ (this.body.rows[at]), i) === target),
      cell: target,
    };
  }

  #showCount() {
    const num = this.rows.filter((row) => !isEmpty(row)).length;
    this.count.textContent = num === 0 ? "" : String(num);
  }
}
