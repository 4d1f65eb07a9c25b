/** A dialog over the page: a title, a body, a place for a problem, buttons. The focus comes back after it. */
import { h } from "../dom/elements.js";
import { alarm } from "../dom/speaking.js";

let number = 0;

export class Dialog {
  /**
   * @param {string} title
   * @param {HTMLElement[]} body
   * @param {{label: string, isDanger?: boolean}} action
   */
  constructor(title, body, action) {
    const id = `dialog-${++number}`;
    this.problem = h("p", { class: "problem", hidden: true, tabindex: -1, dir: "auto" });
    this.submit = h(
      "button",
      { type: "submit", class: action.isDanger ? "button is-danger" : "button is-primary" },
      action.label,
    );
    this.cancel = h("button", { type: "button", class: "button" }, "Cancel");
    this.form = h(
      "form",
      { method: "dialog", novalidate: true },
      h("h2", { id, class: "dialog-title" }, h("bdi", {}, title)),
      h("div", { class: "dialog-body" }, body, this.problem),
      h("div", { class: "dialog-foot" }, this.cancel, this.submit),
    );
    this.element = h("dialog", { class: "dialog", "aria-labelledby": id }, this.form);
    /** Whether closing now would lose what was typed. @type {() => boolean} */
    this.isChanged = () => false;
    this.#returnsTo = document.activeElement;
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing) return;
      event.preventDefault();
      event.stopPropagation();
      this.leave();
    });
    this.element.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.leave();
    });
    this.cancel.addEventListener("click", () => this.leave());
  }

  /** @type {Element | null} */
  #returnsTo;
  /** @type {(isDone: boolean) => void} */
  #finish = () => {};

  /**
   * Show the dialog until `act` succeeds or it is left; return whether it succeeded.
   *
   * @param {() => Promise<string>} act Returns a sentence for a problem that keeps the dialog open, or "".
   * @returns {Promise<boolean>}
   */
  run(act) {
    document.body.append(this.element);
    this.element.showModal();
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#act(act);
    });
    return new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /** @param {() => Promise<string>} act */
  async #act(act) {
    if (this.submit.disabled) return;
    this.submit.disabled = true;
    const problem = await act();
    this.submit.disabled = false;
    if (problem === "") this.#close(true);
    else this.show(problem);
  }

  /** @param {string} problem */
  show(problem) {
    this.problem.textContent = problem;
    this.problem.hidden = false;
    this.problem.scrollIntoView({ block: "nearest" });
    alarm(problem);
  }

  /** Close without acting; typed text is given up only if that is said twice. */
  leave() {
    if (this.isChanged() && this.cancel.textContent !== "Discard") {
      this.cancel.textContent = "Discard";
      this.cancel.classList.add("is-danger");
      this.show("What you typed is not saved. Choose “Discard” to give it up.");
      return;
    }
    this.#close(false);
  }

  /** @param {boolean} isDone */
  #close(isDone) {
    this.element.close();
    this.element.remove();
    if (this.#returnsTo instanceof HTMLElement && this.#returnsTo.isConnected) this.#returnsTo.focus();
    this.#finish(isDone);
  }
}
