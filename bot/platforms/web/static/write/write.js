/**
 * The view for a text: TAB shows how the model would go on, in grey at the caret and as a list; tints show what
 * surprised it; another word in place of one begins a new branch.
 *
 * @import {Alternative, Branch, Strategy} from "../wire/types.js"
 * @import {Session} from "../state/session.js"
 * @import {Store} from "../state/store.js"
 */
import { askName } from "../dialogs/asking.js";
import { h, onAction } from "../dom/elements.js";
import { alarm, speak } from "../dom/speaking.js";
import { keep, readKept } from "../state/kept.js";
import { sentenceOf } from "../state/session.js";
import { Branches } from "./branches.js";
import { Continuations } from "./continuations.js";
import { Header } from "./header.js";
import { choosing, goingOn, helpFor } from "./hints.js";
import { Instead } from "./instead.js";
import { Offers } from "./offers.js";
import { Paper } from "./paper.js";
import { Sampling } from "./sampling.js";
import { Strategies } from "./strategies.js";
import { Tints } from "./tints.js";
import { Tools } from "./tools.js";
import { Writings } from "./writings.js";

const MEASURING = "Measuring the words. You can go on typing.";
const TINT = "tint";
const NOT_STORED = "This text lives in this window only, without branches.";

export class Write {
  /** Called to show or hide the tools. @type {(isOpen: boolean) => void} */
  onTools = () => {};
  /** Whether the tools are shown now. */
  areToolsOpen = false;
  /** Why the last question failed. */
  #problem = "";
  /** After Esc the next Tab moves the focus, as everywhere. */
  #isLeaving = false;
  #notice = "";

  /**
   * @param {Store} store
   * @param {Session} session
   * @param {HTMLElement} menu The button that opens the servers on a narrow window.
   */
  constructor(store, session, menu) {
    this.store = store;
    this.session = session;
    this.writings = new Writings(
      session,
      () => this.#showStored(),
      (isElsewhere) => this.#showText(isElsewhere),
    );
    this.paper = new Paper(() => this.#moved());
    this.offers = new Offers(this.paper.area);
    this.sampling = new Sampling();
    this.found = new Continuations(session, this.sampling, () => this.#draw());
    this.instead = new Instead(
      session,
      (word, before) => this.#run(() => this.#putWord(word, before)),
      () => this.#leaveTools(),
    );
    this.branches = new Branches(this.#branchActions());
    this.tools = new Tools(this.instead.element, this.branches.element, this.sampling.element);
    this.tints = new Tints(
      store,
      session,
      this.paper,
      (problem) => this.#say(problem),
      () => this.#draw(),
    );
    this.header = new Header(
      this.writings,
      menu,
      (act) => this.#run(act),
      () => this.focus(),
    );
    this.hint = h("p", { class: "write-hint quiet", id: "write-hint" }, helpFor(false));
    this.state = h("p", { class: "write-state quiet", role: "status" });
    this.more = h("button", { type: "button", class: "button", "data-do": "more", hidden: true }, "More and longer");
    this.words = h("button", { type: "button", class: "button", "data-do": "words", hidden: true }, "Other words here");
    this.element = h(
      "section",
      { class: "view", "aria-label": "Write" },
      this.header.element,
      h(
        "div",
        { class: "write-body" },
        this.paper.element,
        h("div", { class: "write-below" }, this.hint, this.offers.element, this.more, this.words, this.state),
      ),
    );
    this.#listen();
    this.#showText(false);
    if (readKept(TINT) !== "") this.#tint(true);
  }

  #listen() {
    const { paper, writings, session } = this;
    paper.area.addEventListener("keydown", (event) => this.#pressed(event));
    paper.area.addEventListener("focus", () => {
      this.#isLeaving = false;
    });
    window.addEventListener("pagehide", () => writings.keep());
    // The word at the caret is what tints tell about: a click on their button leaves the caret there.
    this.header.tint.addEventListener("pointerdown", (event) => event.preventDefault());
    onAction(this.element, {
      ...this.header.actions,
      offer: (element) => this.#take(this.found.texts[Number(element.dataset.at)] ?? ""),
      more: () => void this.#ask(),
      continue: () => void this.#ask(),
      tint: () => this.#tint(!this.tints.isOn),
      all: () => this.#showAll(),
      words: () => this.#goToWords(),
      tools: () => this.onTools(!this.areToolsOpen),
    });
    session.onWriting = (event) => writings.heard(event);
    session.beforeBecoming = () => writings.save();
    this.store.subscribe((topics) => {
      if (topics.has("me") && this.store.connection === "open") this.#run(() => writings.load());
    });
  }

  /** @returns {import("./branches.js").BranchActions} */
  #branchActions() {
    const change = (/** @type {string} */ op, /** @type {Record<string, unknown>} */ fields, said = "") =>
      this.#run(async () => {
        this.#close();
        await this.writings.change(op, fields);
        if (said !== "") speak(said);
      });
    return {
      go: (branch) => change("go_branch", { branch }),
      name: (branch) => void this.#nameBranch(branch),
      prune: (branch) => change("prune_branch", { branch: branch.id }, "Pruned. Undo brings it back."),
      undo: () => change("undo_writing", {}, "Undone."),
      save: (format) => this.header.save(format),
    };
  }

  /** @param {Branch} branch */
  #nameBranch(branch) {
    const act = (/** @type {string} */ name) => this.writings.change("name_branch", { branch: branch.id, name });
    return askName({ title: "Name the branch", label: "Name", value: branch.name, action: "Name", act });
  }

  /**
   * Show what the main window says of the tools.
   *
   * @param {boolean} isOpen
   */
  showTools(isOpen) {
    this.areToolsOpen = isOpen;
    this.header.tools.setAttribute("aria-pressed", String(isOpen));
    this.#showWord();
  }

  focus() {
    this.paper.area.focus();
  }

  /**
   * Do what may fail; say so.
   *
   * @param {() => Promise<unknown>} act
   */
  #run(act) {
    act().catch((error) => this.#say(sentenceOf(error)));
  }

  /** @param {string} problem Why something failed, "" for nothing. */
  #say(problem) {
    if (problem !== "") alarm(problem);
    this.#problem = problem;
    this.#draw();
  }

  /** Show the text of `writings`, which is another one now. */
  #showText(/** @type {boolean} */ isElsewhere) {
    this.found.close();
    this.#problem = "";
    this.paper.write(this.writings.text, isElsewhere);
    this.#follow();
  }

  /** Show what is stored: names and branches. */
  #showStored() {
    const { writings } = this;
    const { current, refusal, problem } = writings;
    const notice = current?.notice ?? "";
    if (notice !== "" && notice !== this.#notice) speak(notice);
    this.#notice = notice;
    this.header.draw();
    this.branches.show(current, refusal);
    this.branches.element.hidden = refusal !== "";
    const said = refusal === "" ? problem || notice : `${refusal} ${NOT_STORED}`;
    if (this.state.textContent !== said) this.state.textContent = said;
    this.state.classList.toggle("is-problem", problem !== "");
    this.#showWord();
  }

  async #ask() {
    this.paper.area.focus();
    const text = this.paper.before;
    if (text.trim() === "") {
      this.hint.textContent = "Begin a text first.";
      return;
    }
    this.#problem = "";
    try {
      const found = await this.found.ask(text);
      if (found !== null && found.length > 0) speak(`${found.length} continuations. First: ${found[0]}`);
    } catch (error) {
      this.#say(sentenceOf(error));
    }
  }

  /** The text or the caret is another one. */
  #moved() {
    const { paper, writings } = this;
    if (paper.text !== writings.text) {
      this.#isLeaving = false;
      this.#problem = "";
      writings.typed(paper.text);
    }
    this.#follow();
  }

  /** Keep what still fits the text and the caret, and show it. */
  #follow() {
    const { paper, found } = this;
    if (found.isOpen) {
      if (paper.isSelecting) found.close();
      else found.typed(paper.before);
    }
    this.#draw();
    this.tints.measure();
    this.#showWord();
  }

  /** Show what was expected at the caret, while words are tinted. */
  #showWord() {
    const { paper, instead, writings } = this;
    // Where the tools are not shown, this opens them.
    this.words.hidden = !this.tints.isOn || this.areToolsOpen || writings.refusal !== "";
    if (!this.tints.isOn) instead.rest();
    else if (writings.refusal !== "") instead.rest(NOT_STORED);
    else instead.show(paper.text, paper.caret);
  }

  #draw() {
    const { found, offers, paper } = this;
    const { texts } = found;
    // Before a branch is written it is no choice.
    offers.draw(found.isBranch ? [] : texts);
    paper.draw(texts[Math.max(0, offers.at)] ?? "");
    this.more.hidden = texts.length === 0 || found.isBranch;
    const hint = this.#problem || this.#hintOf(texts);
    if (this.hint.textContent !== hint) this.hint.textContent = hint;
    this.hint.classList.toggle("is-problem", this.#problem !== "");
  }

  /** @param {string[]} texts */
  #hintOf(texts) {
    const { found, tints } = this;
    if (found.isAsking) return found.loading || (found.isBranch ? goingOn() : "Writing …");
    if (texts.length > 0) return choosing();
    return tints.isSlow ? tints.loading || MEASURING : helpFor(tints.isOn);
  }

  /** @param {string} text */
  #take(text) {
    if (text !== "") this.#insert(text, this.found.seedOf(text));
  }

  /**
   * @param {string} text Written by the model, at the caret.
   * @param {number | null} seed
   */
  #insert(text, seed) {
    const { paper } = this;
    const { before, isAtEnd } = paper;
    this.#close();
    paper.insert(text);
    // In the middle of a text it is stored with what follows, as if it had been typed.
    if (isAtEnd) this.#run(() => this.writings.take(before, text, seed));
  }

  #close() {
    this.found.close();
    this.offers.at = -1;
    this.#draw();
  }

  /**
   * Put a word in the place of another one, in a new branch, and let the model go on from there.
   *
   * @param {Alternative} word
   * @param {string} before The text that it comes behind.
   */
  async #putWord({ text: word, probability }, before) {
    const { writings, paper, found } = this;
    const whole = before + word;
    this.#close();
    await writings.change("put_word", { whole, word, probability });
    if (paper.text !== whole) return;
    this.#leaveTools();
    const texts = await found.askForBranch(whole);
    if (texts !== null && found.isBranch) this.#take(texts[0] ?? "");
  }

  /** Go back to the text; what lies over it is closed. */
  #leaveTools() {
    if (innerWidth < 1100) this.onTools(false);
    this.focus();
  }

  /** @param {boolean} isOn */
  #tint(isOn) {
    this.header.tint.setAttribute("aria-pressed", String(isOn));
    keep(TINT, isOn ? "on" : "");
    this.tints.set(isOn);
    this.#draw();
    this.#showWord();
  }

  #showAll() {
    const { before } = this.paper;
    if (before.trim() === "") {
      this.#say("Begin a text first.");
      return;
    }
    this.#close();
    // A newer look ends the one before, so that tints wait.
    this.tints.pause(true);
    const take = (/** @type {Strategy} */ found) => this.#insert(found.text, found.seed);
    const dialog = new Strategies(this.session, take, () => this.tints.pause(false));
    void dialog.show(this.store, before);
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.isComposing || event.ctrlKey || event.metaKey) return;
    if (event.altKey) {
      if (event.key !== "Enter" || !this.tints.isOn) return;
      event.preventDefault();
      this.#goToWords();
      return;
    }
    const { found, paper } = this;
    if (event.key === "Tab" && !event.shiftKey && !this.#isLeaving && paper.before.trim() !== "") void this.#ask();
    else if (event.key === "Escape" && found.isOpen) this.#close();
    else if (event.key === "Escape") this.#isLeaving = true;
    else if (!this.#pressedAtOffers(event)) return;
    event.preventDefault();
  }

  #goToWords() {
    if (!this.areToolsOpen) this.onTools(true);
    this.instead.focus();
  }

  /** @param {KeyboardEvent} event */
  #pressedAtOffers(event) {
    const { offers, paper, found } = this;
    const { texts } = found;
    if (texts.length === 0 || event.shiftKey) return false;
    const digit = /^[1-9]$/.test(event.key) && !found.isBranch ? texts[Number(event.key) - 1] : undefined;
    if (digit !== undefined) this.#take(digit);
    else if (event.key === "ArrowRight" && paper.isAtEnd) this.#take(texts[Math.max(0, offers.at)] ?? "");
    else if (event.key === "Enter" && (found.isBranch || offers.at >= 0))
      this.#take(texts[Math.max(0, offers.at)] ?? "");
    else if (found.isBranch) return false;
    else if (event.key === "ArrowDown") this.#move(1);
    else if (event.key === "ArrowUp" && offers.at >= 0) this.#move(-1);
    else return false;
    return true;
  }

  /** @param {1 | -1} step */
  #move(step) {
    this.offers.move(step, this.found.texts);
    this.#draw();
  }
}
