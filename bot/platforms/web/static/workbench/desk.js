/**
 * The templates of a server as this window knows them, and the one that is edited: what is typed is kept here and saved
 * by itself, also after a lost connection or a reload. Nothing here draws.
 *
 * @import {BenchEvent, Clash, ListedTemplate, OpenedTemplate, SavedTemplate, TemplateState} from "../wire/types.js"
 * @import {Session} from "../state/session.js"
 * @import {Store} from "../state/store.js"
 */
import { speak } from "../dom/speaking.js";
import { sentenceOf } from "../state/session.js";
import { Disconnected } from "../wire/socket.js";
import { forget, isSame, keepUnsaved, readUnsaved } from "./unsaved.js";

const SAVE_AFTER_MS = 500;
const MAX_NEWS = 5;

/**
 * What changed: the list, the whole opened template, what is typed (by this person, or elsewhere), what is said about
 * it, or the state of saving.
 *
 * @typedef {"list" | "opened" | "typed" | "joined" | "about" | "saving" | "news"} DeskTopic
 */

export class Desk {
  /** A channel of the server whose templates are shown. */
  channel = "";
  /** The template that is open, "" none. */
  name = "";
  /** @type {ListedTemplate[]} */
  templates = [];
  isModerator = false;
  /** Why the list or the template can't be shown. */
  refusal = "";
  /** @type {OpenedTemplate | null} */
  opened = null;
  /** @type {"saved" | "saving" | "waiting" | "refused"} */
  saving = "saved";
  /** Why the last save was refused. */
  saveProblem = "";
  /** What the bot loads before it can answer, "" for nothing. */
  loading = "";
  /** @type {Clash[]} */
  clashes = [];
  /** @type {{name: string, who: string}[]} */
  editors = [];
  /** @type {string[]} */
  news = [];
  /** Called with what a search has done so far. @type {(num: number, all: number) => void} */
  onProgress = () => {};
  /** What is typed. @type {TemplateState | null} */
  state = null;
  /** What was typed over, as the bot knows it. @type {TemplateState | null} */
  #base = null;
  #revision = "";
  /** Whose draft is typed. */
  #who = "";
  /** Changes with each template that is opened; answers for an earlier one are dropped. */
  #visit = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;
  /** The save that is on its way. @type {Promise<void> | null} */
  #saving = null;
  /** @type {Promise<void> | null} */
  #refreshing = null;
  #refreshAgain = false;

  /**
   * @param {Store} store
   * @param {Session} session
   * @param {(topic: DeskTopic) => void} changed
   */
  constructor(store, session, changed) {
    this.store = store;
    this.session = session;
    this.changed = changed;
    addEventListener("pagehide", () => {
      this.#keep();
      void this.flush();
    });
  }

  /**
   * Ask the bot about this template.
   *
   * @param {string} op
   * @param {Record<string, unknown>} [fields]
   * @returns {Promise<any>}
   */
  async ask(op, fields = {}) {
    const sent = { channel: this.channel, name: this.name, ...fields };
    const { answer } = this.session.connection.follow(`workbench_${op}`, sent, (step) => this.#load(step.sentence));
    try {
      return await answer;
    } finally {
      this.#load("");
    }
  }

  /** @param {string} sentence What the bot loads first, "" for nothing. */
  #load(sentence) {
    if (this.loading === sentence) return;
    this.loading = sentence;
    this.changed("saving");
  }

  /**
   * Show the templates of the server of `channel`, and open one of them.
   *
   * @param {string} channel
   * @param {string} name "" opens none.
   * @returns {boolean} Whether that was not shown before.
   */
  show(channel, name) {
    if (channel === this.channel && name === this.name) return false;
    void this.flush();
    if (channel !== this.channel) this.templates = [];
    this.#keep();
    this.#close();
    this.channel = channel;
    this.name = name;
    this.refusal = "";
    this.#show("saved");
    this.changed("list");
    this.changed("opened");
    this.resume();
    return true;
  }

  /** Leave the workbench: nothing more is told to this window. */
  leave() {
    void this.flush();
    if (this.channel === "") return;
    this.#keep();
    this.#close();
    this.channel = this.name = "";
    this.session.connection.request("workbench_watch", {}).catch(() => {});
  }

  /** Go on after a (new) connection, or as somebody else. */
  resume() {
    if (this.channel === "") return;
    if (this.#who !== this.store.me.id && this.state !== null) {
      // What somebody else typed here is kept under their name.
      this.#keep();
      this.#close();
      this.changed("opened");
    }
    this.#who = this.store.me.id;
    this.ask("watch").catch(() => {});
    this.refresh();
    if (this.isDirty) this.#saveSoon(0);
  }

  get isDirty() {
    return this.state !== null && this.#base !== null && !isSame(this.state, this.#base);
  }

  // ---- what the bot knows

  /** Ask again for what is shown; several wishes at once are one. */
  refresh() {
    if (this.#refreshing !== null) {
      this.#refreshAgain = true;
      return this.#refreshing;
    }
    this.#refreshing = this.#refresh().finally(() => {
      this.#refreshing = null;
      if (!this.#refreshAgain) return;
      this.#refreshAgain = false;
      return this.refresh();
    });
    return this.#refreshing;
  }

  async #refresh() {
    const visit = this.#visit;
    if (this.channel === "") return;
    try {
      const { templates, is_moderator } = await this.ask("list");
      if (visit !== this.#visit) return this.#askAgain();
      this.templates = templates;
      this.isModerator = is_moderator;
      this.changed("list");
      if (this.name === "") return;
      const { template } = await this.ask("open");
      if (visit !== this.#visit) return this.#askAgain();
      this.refusal = "";
      this.#take(template);
    } catch (error) {
      if (error instanceof Disconnected || visit !== this.#visit) return;
      this.refusal = sentenceOf(error);
      this.changed("opened");
    }
  }

  #askAgain() {
    this.#refreshAgain = true;
  }

  /** @param {OpenedTemplate} template */
  #take(template) {
    const isFirst = this.opened === null;
    const wasDirty = this.isDirty || this.#saving !== null;
    this.opened = template;
    if (isFirst) {
      const unsaved = readUnsaved(this.#keyOf(this.channel, this.name));
      this.state = unsaved?.state ?? template.state;
      this.#base = unsaved?.base ?? template.state;
      this.#revision = unsaved?.revision ?? template.revision;
      this.changed("opened");
      if (this.isDirty) this.#saveSoon(0);
    } else if (!wasDirty) {
      const isNew = this.state === null || !isSame(this.state, template.state);
      this.state = this.#base = template.state;
      this.#revision = template.revision;
      if (isNew) this.changed("joined");
    }
    this.changed("about");
  }

  /** @param {BenchEvent} event */
  heard(event) {
    if (this.channel === "") return;
    if (event.op === "workbench_changed") void this.refresh();
    else if (event.op === "workbench_editors") {
      this.editors = event.editors;
      this.changed("list");
      this.changed("news");
    } else if (event.op === "workbench_news") {
      speak(event.sentence);
      this.tell(event.sentence);
    } else if (event.op === "workbench_step" && event.progress !== undefined) this.onProgress(...event.progress);
  }

  /** Show a sentence about what happened. @param {string} sentence */
  tell(sentence) {
    this.news = [sentence, ...this.news].slice(0, MAX_NEWS);
    this.changed("news");
  }

  // ---- what is typed

  /**
   * Change what is typed; it is saved soon.
   *
   * @param {Partial<TemplateState>} changes
   */
  type(changes) {
    if (this.state === null || !this.isModerator) return;
    this.state = { ...this.state, ...changes };
    this.changed("typed");
    this.#keep();
    this.#show("saving");
    this.#saveSoon(SAVE_AFTER_MS);
  }

  /** @param {number} afterMs */
  #saveSoon(afterMs) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.flush(), afterMs);
  }

  /** Save now what is not saved; when it returns, all is saved or `saving` says why not. */
  async flush() {
    clearTimeout(this.#timer);
    const visit = this.#visit;
    while (this.isDirty || this.#saving !== null) {
      if (this.#saving === null) this.#saving = this.#save().finally(() => (this.#saving = null));
      await this.#saving;
      if (visit !== this.#visit || this.saving === "waiting" || this.saving === "refused") return;
    }
    if (this.opened !== null) this.#show("saved");
  }

  async #save() {
    const { state, name, channel } = this;
    const base = this.#base;
    const visit = this.#visit;
    const key = this.#keyOf(channel, name);
    if (state === null || base === null) return;
    this.#show("saving");
    try {
      /** @type {SavedTemplate} */
      const saved = await this.ask("save", { state, base, revision: this.#revision });
      if (visit === this.#visit) {
        forget(key);
        this.#saved(state, saved);
      } else await this.#saveRest(channel, name, key, state, saved.revision);
    } catch (error) {
      if (visit !== this.#visit) return;
      const isLost = error instanceof Disconnected;
      this.saveProblem = isLost ? "" : sentenceOf(error);
      this.#show(isLost ? "waiting" : "refused");
      this.#keep();
    }
  }

  /**
   * Save what was typed into a template that was left while its last save was on its way.
   *
   * @param {string} channel
   * @param {string} name
   * @param {string} key
   * @param {TemplateState} base
   * @param {string} revision
   */
  async #saveRest(channel, name, key, base, revision) {
    const rest = readUnsaved(key);
    if (rest !== null && !isSame(rest.state, base))
      await this.ask("save", { channel, name, state: rest.state, base, revision });
    forget(key);
  }

  /**
   * @param {TemplateState} sent
   * @param {SavedTemplate} saved
   */
  #saved(sent, saved) {
    this.saveProblem = "";
    this.clashes = [...this.clashes, ...saved.clashes];
    if (this.state === sent) {
      const isNew = !isSame(sent, saved.state);
      this.state = this.#base = saved.state;
      this.#revision = saved.revision;
      if (isNew) this.changed("joined");
    } else {
      // Somebody typed on. What was joined with the sent state comes with the next save, which is over an old revision.
      this.#base = sent;
      if (!saved.is_joined) this.#revision = saved.revision;
      this.#keep();
    }
    if (saved.clashes.length > 0) this.changed("news");
  }

  /**
   * Take what the bot joined.
   *
   * @param {SavedTemplate} saved
   */
  joined(saved) {
    this.state = this.#base = saved.state;
    this.#revision = saved.revision;
    this.clashes = saved.clashes;
    this.changed("joined");
    this.changed("news");
  }

  get revision() {
    return this.#revision;
  }

  /** Forget what is typed: the draft is gone. */
  drop() {
    forget(this.#keyOf(this.channel, this.name));
    this.#close();
  }

  #close() {
    clearTimeout(this.#timer);
    this.#visit++;
    this.opened = this.state = this.#base = null;
    this.clashes = [];
  }

  /** @param {Desk["saving"]} saving */
  #show(saving) {
    if (this.saving === saving && saving !== "refused") return;
    this.saving = saving;
    this.changed("saving");
  }

  /**
   * @param {string} channel
   * @param {string} name
   */
  #keyOf(channel, name) {
    return `bench ${this.#who} ${channel} ${name}`;
  }

  #keep() {
    if (!this.isDirty || this.state === null || this.#base === null) return;
    keepUnsaved(this.#keyOf(this.channel, this.name), {
      state: this.state,
      base: this.#base,
      revision: this.#revision,
    });
  }
}
