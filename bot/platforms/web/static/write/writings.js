/**
 * The texts of this person: which there are, which one is open, and what of it is stored. Nothing here draws.
 *
 * What is typed is stored soon, and before anything else is done with the text. Requests follow one another, so that
 * each has the newest revision; typing waits for none of them. A person who asked not to be read has one text, which
 * lives in this window only.
 *
 * @import {Session} from "../state/session.js"
 * @import {Writing, WritingEntry, WritingEvent, WritingsEvent} from "../wire/types.js"
 */
import { channelOf } from "../look/measuring.js";
import { keep, readKept } from "../state/kept.js";
import { Queue } from "../state/queue.js";
import { sentenceOf } from "../state/session.js";
import { Disconnected, Refused } from "../wire/socket.js";
import { withChanged } from "./entries.js";
import { keepText, readText } from "./kept_text.js";

const SAVE_AFTER_MS = 400;
const WRITER = "writer";
const REMOVED = "The text that was open here was removed.";
/** What leads to another place of the text. */
const LEAVING = new Set(["go_branch", "undo_writing"]);

export class Writings {
  /** The newest first. @type {WritingEntry[]} */
  list = [];
  /** The open text as it was stored last; null for one that is not stored. @type {Writing | null} */
  current = null;
  /** The text as it is typed. */
  text = "";
  /** Why nothing is stored for this person, "" if it is or if that is not known. */
  refusal = "";
  /** Why the last change is not stored. */
  problem = "";
  /** Whether texts are stored: known from the first answer on. */
  isStored = false;
  /** What `current` was when it was stored. */
  #savedText = "";
  #person = readKept(WRITER);
  /** Continuations that are being stored; until then the text is not stored as typed. */
  #numTakes = 0;
  #queue = new Queue();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;

  /**
   * @param {Session} session
   * @param {() => void} changed Called when anything but the typed text changed.
   * @param {(isElsewhere: boolean) => void} replaced Called when `text` is another one now; another window may have
   *   changed it.
   */
  constructor(session, changed, replaced) {
    this.session = session;
    this.changed = changed;
    this.replaced = replaced;
    this.#restore();
  }

  get isDirty() {
    return this.text !== this.#savedText;
  }

  /**
   * Say what the text is now; it is stored soon.
   *
   * @param {string} text
   */
  typed(text) {
    this.text = text;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.keep();
      void this.save();
    }, SAVE_AFTER_MS);
  }

  /** Keep the text over a reload of the page. */
  keep() {
    const { text, isDirty } = this;
    const { id, at, revision } = this.current ?? { id: "", at: 0, revision: 0 };
    keepText(this.#person, { text, id, at, revision, isSaved: !isDirty });
  }

  /** Begin, or begin again after the connection was lost or another person speaks. */
  load() {
    return this.#queue.run(() => this.#load());
  }

  /** Store what is typed. */
  save() {
    return this.#queue.run(() => this.#save());
  }

  /**
   * Store a continuation that was taken: `before` is what it goes on from, and the text is both now.
   *
   * @param {string} before
   * @param {string} added
   * @param {number | null} seed
   */
  take(before, added, seed) {
    this.#numTakes++;
    return this.#queue.run(async () => {
      this.#numTakes--;
      if (!this.isStored) return;
      try {
        const { id, at, revision } = this.current ?? (await this.#add(before));
        this.#stored(await this.#ask("take_writing", { id, at, revision, text: before, added, seed }), before + added);
      } catch (error) {
        // Then it is stored as if it had been typed.
        this.typed(this.text);
        throw error;
      }
    });
  }

  /**
   * Do something with the open text that may lead to another place of it. Who types on meanwhile stays where they are.
   *
   * @param {string} op
   * @param {Record<string, unknown>} [fields]
   */
  change(op, fields = {}) {
    return this.#queue.run(async () => {
      await this.#save();
      const { current, text, isDirty } = this;
      if (current === null) return;
      // What can't be stored stays in sight.
      if (isDirty && this.problem !== "" && LEAVING.has(op)) throw new Refused(this.problem);
      const storesText = op === "put_word";
      const typed = storesText ? { at: current.at, revision: current.revision, text } : {};
      const writing = await this.#ask(op, { id: current.id, ...typed, ...fields });
      const isStored = storesText || !isDirty;
      if (this.text === text && isStored) this.#open(writing);
      else this.#stored({ ...writing, at: current.at }, isStored ? text : this.#savedText);
      if (this.isDirty) this.typed(this.text);
    });
  }

  /** @param {string} id */
  open(id) {
    return this.#queue.run(async () => {
      await this.#saveAll();
      const writing = await this.#ask("writing", { id });
      await this.#saveAll();
      this.#open(writing);
    });
  }

  /** Begin another text; it is stored once there is something to store. */
  begin() {
    return this.#queue.run(async () => {
      await this.#saveAll();
      this.#close();
    });
  }

  /** @param {string} name */
  rename(name) {
    return this.change("rename_writing", { name });
  }

  /** Remove the open text with all its branches. */
  remove() {
    return this.#queue.run(async () => {
      const { current } = this;
      if (current !== null) await this.session.connection.request("remove_writing", { id: current.id });
      this.#close();
      await this.#list();
      await this.#openNewest();
    });
  }

  /**
   * Return the text as a file.
   *
   * @param {"txt" | "json"} format
   * @returns {Promise<{name: string, text: string}>}
   */
  async export(format) {
    await this.save();
    if (this.current === null) return { name: "text.txt", text: this.text };
    const channel = channelOf(this.session.store);
    return this.session.connection.request("export_writing", { channel, id: this.current.id, format });
  }

  /** @param {WritingEvent | WritingsEvent} event Another window changed something. */
  heard(event) {
    if (event.op === "writings") void this.#queue.run(() => this.#listAgain()).catch(() => {});
    else if (event.writing.id !== this.current?.id) this.#patchList(event.writing);
    else void this.#queue.run(async () => this.#follow(event.writing));
  }

  /** @param {Writing} writing What another window made of a text. What is typed here is stored beside it. */
  #follow(writing) {
    const { current } = this;
    if (current?.id !== writing.id || this.isDirty || writing.revision <= current.revision) return;
    this.#open(writing, true);
  }

  /** Look what there is after a change elsewhere. A text that was removed, or erased, is not kept here either. */
  async #listAgain() {
    const id = this.current?.id;
    if (!(await this.#listIfStored()) || id === undefined || this.isDirty) return;
    if (this.list.some((one) => one.id === id)) return;
    this.#close();
    await this.#openNewest();
    this.problem = REMOVED;
    this.changed();
  }

  async #openNewest() {
    const [newest] = this.list;
    const writing = newest === undefined ? null : await this.#ask("writing", { id: newest.id });
    // Who typed meanwhile goes on with that.
    if (writing !== null && this.text === "") this.#open(writing);
  }

  /**
   * @param {string} op
   * @param {Record<string, unknown>} fields
   * @returns {Promise<Writing>}
   */
  async #ask(op, fields) {
    return (await this.session.connection.request(op, fields)).writing;
  }

  async #load() {
    const { me } = this.session.store;
    if (me.id !== this.#person) this.#become(me.id);
    try {
      if (await this.#listIfStored()) await this.#find();
    } catch (error) {
      if (error instanceof Disconnected) return;
      this.problem = sentenceOf(error);
    }
    this.changed();
  }

  /** Open what was open, unless it has changes of its own, which are stored; else the newest text. */
  async #find() {
    const id = this.current?.id ?? "";
    const wanted = this.list.find((one) => one.id === id) ?? this.list[0];
    const writing = this.isDirty || wanted === undefined ? null : await this.#ask("writing", { id: wanted.id });
    // Who typed meanwhile goes on with their own text.
    if (this.isDirty) await this.#save();
    else if (writing !== null) this.#open(writing);
    // It was removed, or erased with all that this person wrote.
    else if (this.text !== "") this.#close();
  }

  /** Ask for the list. @returns {Promise<boolean>} Whether texts are stored for this person. */
  async #listIfStored() {
    try {
      await this.#list();
      this.isStored = true;
      this.refusal = "";
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.isStored = false;
      this.refusal = sentenceOf(error);
      this.problem = "";
      this.#forget();
      this.changed();
    }
    return this.isStored;
  }

  async #list() {
    this.list = (await this.session.connection.request("writings")).writings;
    this.changed();
  }

  async #saveAll() {
    while (this.isDirty && this.isStored && !this.#isNothing) {
      await this.#save();
      if (this.problem !== "") throw new Refused(this.problem);
    }
  }

  get #isNothing() {
    return this.current === null && this.text.trim() === "";
  }

  async #save() {
    if (!this.isDirty && this.problem !== "") {
      this.problem = "";
      this.changed();
    }
    if (!this.isStored || !this.isDirty || this.#isNothing || this.#numTakes > 0) return;
    const { current, text } = this;
    try {
      if (current === null) await this.#add(text);
      else {
        const { id, at, revision } = current;
        this.#stored(await this.#ask("save_writing", { id, at, revision, text }), text);
      }
    } catch (error) {
      // Without a connection it is stored with the next one.
      if (error instanceof Disconnected) return;
      this.problem = sentenceOf(error);
      await this.#refused(current?.id ?? "");
      this.changed();
    }
  }

  /** @param {string} id Of a text that was refused, "" for a new one; it may be stored as another one. */
  async #refused(id) {
    try {
      if ((await this.#listIfStored()) && id !== "") await this.#addIfRemoved(id);
    } catch (error) {
      this.problem = sentenceOf(error);
    }
  }

  /** @param {string} id A text that was removed elsewhere while it was typed is stored as another one. */
  async #addIfRemoved(id) {
    if (this.session.store.me.id !== this.#person) return;
    if (this.list.some((one) => one.id === id)) return;
    this.#forget();
    await this.#add(this.text);
  }

  /** @param {string} text */
  async #add(text) {
    const writing = await this.#ask("add_writing", { text });
    this.#stored(writing, text);
    return writing;
  }

  /**
   * @param {Writing} writing
   * @param {string} text Of which it was made.
   */
  #stored(writing, text) {
    this.current = writing;
    this.#savedText = text;
    this.problem = "";
    this.#patchList(writing);
    this.keep();
    this.changed();
  }

  /**
   * @param {Writing} writing
   * @param {boolean} [isElsewhere]
   */
  #open(writing, isElsewhere = false) {
    const isOther = this.text !== writing.text;
    this.text = writing.text;
    if (isOther) this.replaced(isElsewhere);
    this.#stored(writing, writing.text);
  }

  #close() {
    this.text = "";
    this.#forget();
    this.keep();
    this.replaced(false);
    this.changed();
  }

  #forget() {
    this.current = null;
    this.#savedText = "";
  }

  /** @param {Writing} writing */
  #patchList(writing) {
    const list = withChanged(this.list, writing);
    if (list === this.list) return;
    this.list = list;
    this.changed();
  }

  /** @param {string} person */
  #become(person) {
    const isFirst = this.#person === "";
    if (!isFirst) this.keep();
    this.#person = person;
    keep(WRITER, person);
    if (isFirst) return;
    const before = this.text;
    this.#restore();
    if (this.text !== before) this.replaced(false);
  }

  #restore() {
    this.text = "";
    this.list = [];
    this.#forget();
    const kept = readText(this.#person);
    if (kept === null) return;
    const { text, id, at, revision, isSaved } = kept;
    this.text = text;
    if (id !== "") this.current = { id, at, revision, name: "", text, can_undo: false, notice: "", branches: [] };
    this.#savedText = isSaved ? text : "";
  }
}
