/**
 * What is asked in dialogs: a new template, rows or a file to import, publishing with a reason, a search for better
 * examples, an example that a member proposes.
 *
 * @import {Row} from "../wire/types.js"
 * @import {Desk} from "./desk.js"
 */
import { readTextFile } from "../composer/files.js";
import { Dialog } from "../dialogs/dialog.js";
import { h } from "../dom/elements.js";
import { speak } from "../dom/speaking.js";
import { sentenceOf } from "../state/session.js";
import { workbenchAddress } from "../state/route.js";
import { drawDiff } from "./changes.js";
import { formatOfFile, formatOfText } from "./pasting.js";

/** @typedef {"examples" | "tests" | "template"} Target */

const MAX_BYTES = 256 * 1024;

/**
 * Begin a template.
 *
 * @param {Desk} desk
 * @param {string} [like] The template that it is a copy of.
 */
export async function createTemplate(desk, like = "") {
  const name = h("input", { class: "field", type: "text", autocomplete: "off", maxlength: 40 });
  const dialog = new Dialog(
    like === "" ? "New template" : `A copy of ${like}`,
    [
      h("label", { class: "labelled" }, "Name", name),
      h(
        "p",
        { class: "help" },
        "Small letters, digits, _ and -. It begins as your draft; nobody uses it before you publish it.",
      ),
    ],
    { label: "Create" },
  );
  const done = dialog.run(() => problemOf(() => desk.ask("create", { name: name.value.trim(), like })));
  name.focus();
  if (await done) location.hash = workbenchAddress(desk.channel, name.value.trim());
}

/**
 * Take rows or a whole template from a text or file.
 *
 * @param {Desk} desk
 * @param {(target: "examples" | "tests", rows: Row[]) => void} append
 * @param {File | null} dropped
 */
export async function importText(desk, append, dropped = null) {
  const target = h(
    "select",
    { class: "field" },
    h("option", { value: "examples" }, "Add to the examples"),
    h("option", { value: "tests" }, "Add to the tests"),
    h("option", { value: "template" }, "Replace the whole draft (.prompt file)"),
  );
  const file = h("input", { class: "field", type: "file", accept: ".csv,.tsv,.tab,.jsonl,.prompt,.txt,text/*" });
  const area = h("textarea", { class: "field mono", rows: 8, dir: "auto" });
  let name = "";
  const dialog = new Dialog(
    "Import",
    [
      h("label", { class: "labelled" }, "What to do with it", target),
      h("label", { class: "labelled" }, "A file", file),
      h("label", { class: "labelled" }, "Or paste it here", area),
      h(
        "p",
        { class: "help" },
        "Rows: two columns, input and output, from a spreadsheet, a .csv, .tsv or .jsonl file.",
      ),
    ],
    { label: "Import" },
  );
  dialog.isChanged = () => area.value.trim() !== "";
  const read = async (/** @type {File} */ chosen) => {
    try {
      area.value = await readTextFile(chosen, MAX_BYTES);
      name = chosen.name;
      if (name.endsWith(".prompt") || area.value.startsWith("+++")) target.value = "template";
    } catch (error) {
      dialog.show(sentenceOf(error));
    }
  };
  file.addEventListener("change", () => {
    if (file.files?.[0] !== undefined) void read(file.files[0]);
  });
  area.addEventListener("input", () => {
    name = "";
    if (area.value.startsWith("+++")) target.value = "template";
  });
  const done = dialog.run(() =>
    problemOf(() => take(desk, append, /** @type {Target} */ (target.value), area.value, name)),
  );
  if (dropped !== null) await read(dropped);
  target.focus();
  await done;
}

/**
 * @param {Desk} desk
 * @param {(target: "examples" | "tests", rows: Row[]) => void} append
 * @param {Target} target
 * @param {string} text
 * @param {string} fileName
 */
async function take(desk, append, target, text, fileName) {
  if (text.trim() === "") throw new Error("Choose a file, or paste something.");
  if (target === "template") {
    await desk.flush();
    await desk.ask("import", { text });
    await desk.refresh();
    speak("The file is your draft now.");
    return;
  }
  append(target, await readRows(desk, text, formatOfFile(fileName) ?? formatOfText(text)));
}

/**
 * Return the rows in a table; labels are checked if there are any.
 *
 * @param {Desk} desk
 * @param {string} text
 * @param {string} format
 * @returns {Promise<Row[]>}
 */
export async function readRows(desk, text, format) {
  const labels = desk.state?.kind === "classify" ? desk.state.labels : [];
  const { rows } = await desk.ask("rows", { text, format, labels });
  return rows;
}

/**
 * Publish the draft.
 *
 * @param {Desk} desk
 */
export async function publish(desk) {
  await desk.flush();
  await desk.refresh();
  const { opened } = desk;
  if (opened === null) return;
  const reason = h("textarea", { class: "field", rows: 2, maxlength: 300, dir: "auto" });
  const over = h("input", { type: "checkbox" });
  const isUnmeasured = opened.score !== null && opened.score.num_tests > 0 && opened.score.score === null;
  const body = [
    h("p", {}, `Everyone here uses ${desk.name} as it is in your draft.`),
    isUnmeasured ? h("p", { class: "bench-warning" }, "It was not measured on its tests since its last change.") : null,
    opened.score?.verdict_line ? h("p", { dir: "auto" }, opened.score.verdict_line) : null,
    opened.overtaken === "" ? null : h("p", { class: "bench-warning", dir: "auto" }, opened.overtaken),
    opened.overtaken === "" ? null : h("label", { class: "check" }, over, "Publish over it; its changes are lost"),
    h("label", { class: "labelled" }, "Why (everyone sees it in the history)", reason),
  ].filter((one) => one !== null);
  const dialog = new Dialog(`Publish ${desk.name}`, body, { label: "Publish" });
  const done = dialog.run(async () => {
    const number = over.checked ? opened.number : null;
    return problemOf(async () => {
      const found = await desk.ask("publish", { revision: desk.revision, reason: reason.value, over: number });
      if (found.missing === "reason") {
        reason.focus();
        throw new Error("It does worse than the published version. To publish it anyway, say why.");
      }
      if (found.missing === "overtaken") {
        throw new Error("Somebody published another version. Cancel, and take their changes into your draft first.");
      }
      speak(found.sentence);
      desk.tell(found.sentence);
    });
  });
  reason.focus();
  if (!(await done)) return;
  desk.drop();
  await desk.refresh();
}

/**
 * Delete the published template.
 *
 * @param {Desk} desk
 */
export async function deleteTemplate(desk) {
  const { opened } = desk;
  if (opened === null) return;
  const reason = h("input", { class: "field", type: "text", autocomplete: "off", maxlength: 300, dir: "auto" });
  const after = opened.is_shipped ? "The built-in version comes back." : "Nobody here can use it any more.";
  const body = [
    h("p", {}, `${after} Its history stays; a moderator can begin it again.`),
    h("label", { class: "labelled" }, "Why (optional)", reason),
  ];
  const dialog = new Dialog(`Delete ${desk.name}?`, body, { label: "Delete", isDanger: true });
  const done = dialog.run(() =>
    problemOf(async () => {
      const { sentence } = await desk.ask("delete", { number: opened.number, reason: reason.value });
      desk.tell(sentence);
      speak(sentence);
    }),
  );
  reason.focus();
  if (!(await done)) return;
  if (opened.is_shipped || opened.has_draft) await desk.refresh();
  else location.hash = workbenchAddress(desk.channel);
}

/**
 * Search for better examples and offer what was found.
 *
 * @param {Desk} desk
 */
export async function tune(desk) {
  await desk.flush();
  const progress = h("progress", { "aria-label": "Measurements done" });
  const state = h(
    "p",
    { role: "status", dir: "auto" },
    "The model reads each example with the others, in several orders.",
  );
  const found = h("div", { class: "bench-found" });
  const dialog = new Dialog("Search for better examples", [state, progress, found], { label: "Make them my draft" });
  /** @type {{version: string, indexes: number[]} | null} */
  let offer = null;
  dialog.submit.hidden = true;
  desk.onProgress = (num, all) => {
    progress.value = num;
    progress.max = all;
  };
  const done = dialog.run(() => problemOf(() => desk.ask("take", { ...offer })));
  desk
    .ask("tune")
    .then((answer) => {
      progress.hidden = true;
      if (answer.found === null) return;
      state.textContent = answer.found.text;
      if (answer.found.diff !== "") found.replaceChildren(drawDiff(answer.found.diff));
      offer = answer.found.indexes.length > 0 ? answer.found : null;
      dialog.submit.hidden = offer === null;
      if (offer !== null) dialog.submit.focus();
      speak(answer.found.text);
    })
    .catch((error) => {
      progress.hidden = true;
      state.textContent = "";
      dialog.show(sentenceOf(error));
    })
    .finally(() => (desk.onProgress = () => {}));
  const isTaken = await done;
  if (!isTaken) desk.ask("stop").catch(() => {});
  await desk.refresh();
}

/**
 * Let a member propose an example.
 *
 * @param {Desk} desk
 */
export async function propose(desk) {
  const { state } = desk;
  const input = h("textarea", { class: "field", rows: 2, dir: "auto" });
  const labels = state?.kind === "classify" ? state.labels : [];
  const output =
    labels.length > 0
      ? h(
          "select",
          { class: "field" },
          labels.map((one) => h("option", { value: one }, one)),
        )
      : h("textarea", { class: "field", rows: 2, dir: "auto" });
  const body = [
    h("label", { class: "labelled" }, "Input", input),
    h("label", { class: "labelled" }, "What it should answer", output),
  ];
  const dialog = new Dialog(`Propose an example for ${desk.name}`, body, { label: "Propose" });
  dialog.isChanged = () => input.value.trim() !== "";
  const done = dialog.run(() =>
    problemOf(async () => {
      const { sentence } = await desk.ask("propose", { input: input.value, output: output.value });
      desk.tell(sentence);
    }),
  );
  input.focus();
  await done;
}

/** @param {() => Promise<unknown>} act */
async function problemOf(act) {
  try {
    await act();
    return "";
  } catch (error) {
    return sentenceOf(error);
  }
}
