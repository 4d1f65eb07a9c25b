/**
 * What browser and bot say to each other, as types only. The fields are those of the frames.
 *
 * @typedef {{id: string, name: string, is_moderator: boolean}} Person
 * @typedef {{id: string, name: string}} Channel
 * @typedef {{id: string, name: string, is_direct: boolean, channels: Channel[]}} Server
 * @typedef {{name: string, help: string}} CommandOption
 * @typedef {{
 *   name: string, group: string, summary: string, text_name: string, answers: string,
 *   is_for_moderators: boolean, options: CommandOption[],
 * }} Command
 * @typedef {{
 *   me: Person, people: Person[], bot_name: string, model: string, servers: Server[],
 *   commands: Command[], max_text_bytes: number,
 * }} Welcome
 *
 * @typedef {[text: string, bits: number | null]} Piece
 * @typedef {{type: "text", text: string, is_model_text: boolean, is_quiet: boolean}} TextBlock
 * @typedef {{type: "facts", items: [string, string][]}} FactsBlock
 * @typedef {{type: "table", columns: string[], rows: string[][]}} TableBlock
 * @typedef {{type: "bars", items: [string, number][], rest: number, rest_name: string, what: string}} BarsBlock
 * @typedef {{type: "tinted", pieces: Piece[]}} TintedBlock
 * @typedef {{name: string, total_bits: number, pieces: Piece[]}} ContrastedText
 * @typedef {{type: "contrast", texts: ContrastedText[], tables: Omit<TableBlock, "type">[]}} ContrastBlock
 * @typedef {{type: "choices", prompt: string, options: string[], first_number: number, labels?: string[]}} ChoicesBlock
 * @typedef {{type: "verbatim", text: string}} VerbatimBlock
 * @typedef {{type: "progress", what: string, num_done: number, num_total: number | null}} ProgressBlock
 * @typedef {TextBlock | FactsBlock | TableBlock | BarsBlock | TintedBlock | ContrastBlock | ChoicesBlock
 *   | VerbatimBlock | ProgressBlock} Block
 *
 * @typedef {{action: string, label: string, style: "plain" | "primary" | "danger"}} CardButton
 * @typedef {{value: string, label: string, help: string, is_chosen: boolean}} Option
 * @typedef {{action: string, label: string, options: Option[]}} CardSelect
 * @typedef {{name: string, text: string}} TextFile
 * @typedef {{
 *   blocks: Block[], error: string | null, answers: "public" | "private", buttons: CardButton[],
 *   selects: CardSelect[], file: TextFile | null, card_id: string | null, card_revision: number,
 *   is_final: boolean, stop_id: string | null,
 * }} Card
 * @typedef {{
 *   id: string, channel: string, thread: string, author: {id: string, name: string, is_bot: boolean},
 *   text: string, reply_to: string | null, at: string, is_edited: boolean, file_name: string,
 *   asked: string | null, card: Card | null, num_replies: number, revision: number,
 * }} Message
 *
 * @typedef {{
 *   name: string, label: string, kind: "line" | "paragraph" | "choice" | "file", help: string, value: string,
 *   is_required: boolean, max_characters: number | null, options: Option[],
 * }} FormField
 * @typedef {{id: string, title: string, fields: FormField[]}} Form
 *
 * @typedef {{id: string, name: string, changed_at: string, num_branches: number}} WritingEntry
 * @typedef {{
 *   id: number, parent: number, depth: number, text: string, name: string, is_model: boolean, seed: number | null,
 *   instead_of: string,
 * }} Branch
 * @typedef {{
 *   id: string, name: string, revision: number, at: number, text: string, can_undo: boolean, notice: string,
 *   branches: Branch[],
 * }} Writing
 * @typedef {{text: string, probability: number}} Alternative
 * @typedef {{
 *   name: string, sentence: string, options: Record<string, unknown>, seed: number | null, text: string,
 *   finish_reason: string | null,
 * }} Strategy
 *
 * @typedef {{op: "message", message: Message, nonce: string}} MessageEvent
 * @typedef {{op: "removed", id: string}} RemovedEvent
 * @typedef {{op: "private", channel: string, thread: string, key: string, card: Card}} PrivateEvent
 * @typedef {{op: "form", channel: string, thread: string, cause: unknown, form: Form}} FormEvent
 * @typedef {{op: "typing", channel: string, thread: string, is_typing: boolean}} TypingEvent
 * @typedef {{op: "places", servers: Server[]}} PlacesEvent
 * @typedef {{op: "people", people: Person[]}} PeopleEvent
 * @typedef {{op: "writing", writing: Writing}} WritingEvent
 * @typedef {{op: "writings"}} WritingsEvent
 * @typedef {{op: "workbench_changed"}} BenchChangedEvent
 * @typedef {{op: "workbench_news", sentence: string, name: string}} BenchNewsEvent
 * @typedef {{op: "workbench_editors", editors: {name: string, who: string}[]}} BenchEditorsEvent
 * @typedef {{op: "workbench_step", work: number, progress?: [number, number], row?: TestResult}} BenchStepEvent
 * @typedef {BenchChangedEvent | BenchNewsEvent | BenchEditorsEvent | BenchStepEvent} BenchEvent
 * @typedef {MessageEvent | RemovedEvent | PrivateEvent | FormEvent | TypingEvent | PlacesEvent | PeopleEvent
 *   | BenchEvent | WritingEvent | WritingsEvent} BotEvent
 *
 * @typedef {"complete" | "classify" | "chat"} Kind
 * @typedef {[input: string, output: string]} Row
 * @typedef {{
 *   description: string, kind: Kind, instruction: string, query: string, preset: string, options: string,
 *   labels: string[], examples: Row[], tests: Row[],
 * }} TemplateState
 * @typedef {{
 *   name: string, kind: Kind | "", description: string, number: number, author: string, score: string,
 *   needs_larger_model: boolean, is_shipped: boolean, is_published: boolean, has_draft: boolean,
 *   drafts_of: string[], num_proposed: number,
 * }} ListedTemplate
 * @typedef {{
 *   index: number, input: string, output: string, is_right: boolean | null, answered: string,
 *   probabilities: [label: string, share: number][], bits: number | null,
 *   before: {answered: string, is_right: boolean | null} | null, is_changed: boolean,
 * }} TestResult
 * @typedef {{
 *   num_tests: number, num_tokens: number, num_left_for_input: number, context_length: number, warnings: string[],
 *   verdict: string | null, verdict_line: string, score: Record<string, number | null> | null,
 * }} TemplateFigures
 * @typedef {{number: number, input: string, output: string, by: string}} Proposal
 * @typedef {{
 *   name: string, number: number, is_shipped: boolean, author: string, at: string, published: TemplateState | null,
 *   kinds: Kind[], presets: string[], proposals: Proposal[], state: TemplateState, has_draft: boolean,
 *   revision: string, problem: string, file: string, overtaken: string, overtaken_diff: string, diff: string,
 *   is_same: boolean, source: string, next: string, score: TemplateFigures | null, results: TestResult[],
 *   is_moderator: boolean,
 * }} OpenedTemplate
 * @typedef {{field: keyof TemplateState, theirs: string}} Clash
 * @typedef {{
 *   state: TemplateState, revision: string, problem: string, is_joined: boolean, clashes: Clash[],
 * }} SavedTemplate
 * @typedef {{what: string, text: string, num_tokens: number}} PromptPart
 * @typedef {{
 *   parts: PromptPart[], num_tokens: number, num_kept: number, num_left_for_input: number, context_length: number,
 *   answers: string[],
 * }} Preview
 * @typedef {{
 *   number: number, action: string, author: string, reason: string, at: string, is_stale: boolean,
 *   score: Record<string, number | null> | null,
 * }} TemplateVersion
 *
 * @typedef {{messages: Message[], has_more: boolean}} MessagePage
 * @typedef {{value: string, help: string}} Offer
 */

export {};
