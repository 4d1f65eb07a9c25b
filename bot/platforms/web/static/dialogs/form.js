/**
 * Dialogs for the bot's forms. An error leaves everything as it was typed.
 *
 * @import {FormEvent, FormField} from "../wire/types.js"
 * @import {Session} from "../state/session.js"
 */
import { h } from "../dom/elements.js";
import { readTextFile } from "../composer/files.js";
import { sentenceOf } from "../state/session.js";
import { Dialog } from "./dialog.js";

/** @typedef {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} Control */

let number = 0;

/** One after the other: a form that comes while another is open waits. @type {Promise<unknown>} */
let before = Promise.resolve();

/**
 * @param {Session} session
 * @param {FormEvent} event
 */
export function openForm(session, event) {
  before = before.then(() => run(session, event));
  return before;
}

/**
 * @param {Session} session
 * @param {FormEvent} event
 */
function run(session, event) {
  const { form } = event;
  const fields = form.fields.map((field) => new ShownField(field, session.store.maxTextBytes));
  const dialog = new Dialog(
    form.title,
    fields.map((one) => one.element),
    { label: "Submit" },
  );
  dialog.isChanged = () => fields.some((one) => one.isChanged);
  const done = dialog.run(async () => {
    const wrong = fields.map((one) => one.check()).filter((one) => one !== null);
    if (wrong[0] !== undefined) {
      wrong[0].control.focus();
      return wrong[0].problem;
    }
    const values = Object.fromEntries(fields.map((one) => [one.field.name, one.value]));
    const { channel, thread, cause } = event;
    try {
      await session.connection.request("submit", { channel, thread, form: form.id, values, cause });
      return "";
    } catch (error) {
      return sentenceOf(error);
    }
  });
  fields[0]?.control.focus();
  return done;
}

class ShownField {
  /** The text of the chosen file. */
  #text = "";

  /**
   * @param {FormField} field
   * @param {number} maxBytes
   */
  constructor(field, maxBytes) {
    this.field = field;
    const id = `field-${++number}`;
    this.control = makeControl(field, id);
    this.count = h("span", { class: "count" });
    this.help = h("p", { class: "help", id: `${id}-help` }, h("span", { dir: "auto" }, field.help), " ", this.count);
    this.element = h(
      "div",
      { class: "labelled" },
      h(
        "label",
        { for: id },
        h("bdi", {}, field.label),
        !field.is_required && h("span", { class: "quiet" }, " (optional)"),
      ),
      this.control,
      this.help,
    );
    this.#text = field.kind === "file" ? field.value : "";
    this.control.addEventListener("input", () => {
      this.#showCount();
      this.control.removeAttribute("aria-invalid");
    });
    if (field.kind === "file") this.control.addEventListener("change", () => void this.#read(maxBytes));
    this.#showCount();
  }

  get value() {
    return this.field.kind === "file" ? this.#text : this.control.value;
  }

  get isChanged() {
    return (
      this.value !== this.field.value &&
      !(this.field.kind === "choice" && this.control.value === firstValue(this.field))
    );
  }

  /** Return what is wrong with the value, or null. */
  check() {
    const { field, control } = this;
    let problem = "";
    const length = [...this.value].length;
    if (field.is_required && this.value.trim() === "") {
      problem = field.kind === "file" ? `Choose a file for “${field.label}”.` : `Fill in “${field.label}”.`;
    } else if (field.max_characters !== null && length > field.max_characters) {
      const most = field.max_characters.toLocaleString("en");
      problem = `“${field.label}” takes at most ${most} characters, and this is ${length.toLocaleString("en")}.`;
    }
    if (problem === "") return null;
    control.setAttribute("aria-invalid", "true");
    return { control, problem };
  }

  /** @param {number} maxBytes */
  async #read(maxBytes) {
    const file = this.control instanceof HTMLInputElement ? this.control.files?.[0] : undefined;
    if (file === undefined) return;
    try {
      this.#text = await readTextFile(file, maxBytes);
      this.count.textContent = `${[...this.#text].length.toLocaleString("en")} characters`;
      this.control.removeAttribute("aria-invalid");
    } catch (error) {
      this.#text = "";
      this.count.textContent = sentenceOf(error);
      this.control.setAttribute("aria-invalid", "true");
    }
  }

  #showCount() {
    const most = this.field.max_characters;
    if (most === null || this.field.kind === "choice" || this.field.kind === "file") return;
    const length = [...this.control.value].length;
    this.count.textContent = `${length.toLocaleString("en")} of ${most.toLocaleString("en")} characters`;
    this.count.classList.toggle("is-over", length > most);
  }
}

/**
 * @param {FormField} field
 * @param {string} id
 * @returns {Control}
 */
function makeControl(field, id) {
  const attributes = {
    id,
    class: "field",
    "aria-describedby": `${id}-help`,
    "aria-required": String(field.is_required),
  };
  if (field.kind === "choice") {
    const options = field.options.map((one) =>
      h(
        "option",
        { value: one.value, selected: one.is_chosen || one.value === field.value },
        one.help ? `${one.label} – ${one.help}` : one.label,
      ),
    );
    return h("select", attributes, options);
  }
  if (field.kind === "file")
    return h("input", { ...attributes, type: "file", accept: "text/*,.txt,.csv,.jsonl,.json,.prompt,.md" });
  const control =
    field.kind === "paragraph"
      ? h("textarea", { ...attributes, rows: 6, dir: "auto" })
      : h("input", { ...attributes, type: "text", autocomplete: "off", dir: "auto" });
  control.value = field.value;
  return control;
}

/** @param {FormField} field */
function firstValue(field) {
  return (field.options.find((one) => one.is_chosen) ?? field.options[0])?.value ?? "";
}
