/** Small questions: are you sure, and what is its name. */
import { h } from "../dom/elements.js";
import { sentenceOf } from "../state/session.js";
import { Dialog } from "./dialog.js";

/**
 * Ask before something is lost; return whether it was done.
 *
 * @param {{title: string, text: string, action: string, act: () => Promise<unknown>}} question
 */
export function confirm({ title, text, action, act }) {
  const dialog = new Dialog(title, [h("p", { dir: "auto" }, text)], { label: action, isDanger: true });
  return dialog.run(() => problemOf(act));
}

/**
 * Ask for a name; return whether `act` took it. With `box` there is a check box, too.
 *
 * @param {{
 *   title: string, label: string, value?: string, action: string, box?: string,
 *   act: (name: string, isChecked: boolean) => Promise<unknown>,
 * }} question
 */
export function askName({ title, label, value = "", action, box, act }) {
  const input = h("input", { class: "field", type: "text", autocomplete: "off", dir: "auto" });
  input.value = value;
  const check = h("input", { type: "checkbox" });
  const body = [h("label", { class: "labelled" }, label, input)];
  if (box !== undefined) body.push(h("label", { class: "check" }, check, box));
  const dialog = new Dialog(title, body, { label: action });
  const done = dialog.run(async () => {
    const name = input.value.trim();
    if (name === "") {
      input.focus();
      return "Type a name.";
    }
    return problemOf(() => act(name, check.checked));
  });
  input.focus();
  input.select();
  return done;
}

/**
 * Return the sentence of what went wrong, or "".
 *
 * @param {() => Promise<unknown>} act
 */
async function problemOf(act) {
  try {
    await act();
    return "";
  } catch (error) {
    return sentenceOf(error);
  }
}
