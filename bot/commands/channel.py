"""Commands about the conversation and the bot: fresh, context, stats, help."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Request
from bot.commands.framework.help_topics import TOPICS, topic_card
from bot.commands.framework.model_choice import model_of_chat
from bot.commands.framework.parsing import DASHES
from bot.commands.framework.request import why_not
from bot.commands.framework.spelling import Spelling
from bot.core.cards import Block, Card, Facts, Table, Text, Verbatim
from bot.core.mentions import mention
from bot.core.messages import Scope, now_utc
from bot.core.platform_traits import PlatformTraits
from bot.core.results import ModelInfo, Percentiles
from bot.core.suggesting import suggest
from bot.core.wording import quote
from bot.errors import RequestError
from bot.stalls import HOUR_S, MINUTE_S
from bot.store.retention import StoreStats


async def answer_fresh(request: Request) -> Cards:
    """Start the conversation over: nothing above is read again."""
    await request.services.store.mark_fresh(request.message.scope)
    yield Card(
        blocks=(Text("Fresh start: the bot does not read anything above."),),
        data={"text": "Fresh start: the bot does not read anything said before."},
    )


async def answer_context(request: Request) -> Cards:
    """Show what the model would read now, in tokens."""
    services, scope = request.services, request.message.scope
    try:
        yield await context_card(services, scope)
    except RequestError as e:
        if not services.traits.replies_in_threads or scope.thread or scope.kind == "direct":
            raise
        # A typed command, since threads have no other.
        raise RequestError(f"{e} Each thread is a conversation: write {services.command_prefix}context in one.") from e


async def find_chat_model(request: Request) -> str:
    """Return the model that answers messages where the request was made."""
    place = await request.services.place_of(request.message.scope)
    return model_of_chat(request.services, place)


async def context_card(services: Services, scope: Scope, *, shows_prompt: bool = False) -> Card:
    """Return the card of what the model would read in `scope` now. Raises RequestError if there is nothing yet."""
    use = await services.chat.count_context(scope)
    rows = (
        ("template and examples", f"{use.num_template_tokens:,}"),
        (f"history ({use.num_turns} {'turn' if use.num_turns == 1 else 'turns'})", f"{use.num_history_tokens:,}"),
        ("reserved for the answer", f"{use.num_answer_tokens:,}"),
        ("free", f"{use.num_free_tokens:,}"),
        ("the model's context", f"{use.context_length:,}"),
    )
    blocks = [Table(("what the model would read now", "tokens"), rows)]
    dropped = (
        [Text(f"older messages left out because they do not fit: {use.num_messages_dropped}", is_quiet=True)]
        if use.num_messages_dropped
        else []
    )
    is_counted = services.engine.info.counts_tokens
    if not is_counted:
        dropped.append(Text("The model's server counts no tokens beforehand, so these are estimates.", is_quiet=True))
    prompt = [Verbatim(use.prompt)] if shows_prompt else []
    return Card(
        blocks=(*blocks, *dropped, *prompt),
        data={
            "template": use.template_name,
            "num_template_tokens": use.num_template_tokens,
            "num_history_tokens": use.num_history_tokens,
            "num_turns": use.num_turns,
            "num_messages_dropped": use.num_messages_dropped,
            "num_answer_tokens": use.num_answer_tokens,
            "num_free_tokens": use.num_free_tokens,
            "context_length": use.context_length,
            "is_estimated": not is_counted,
        },
    )


def _percentiles(percentiles: Percentiles | None) -> dict[str, float]:
    return {"p50": percentiles.p50, "p95": percentiles.p95} if percentiles else {}


def _figure(value: float | None, unit: str) -> str:
    """Return a rate or time, a dash if nothing was measured yet."""
    if value is None:
        return "—"
    return f"{value:,.0f}{unit}" if unit else f"{value:,.1f}"


async def answer_stats(request: Request) -> Cards:
    """Show the model, speed, queue, latencies, uptime and what is stored."""
    services = request.services
    info, stats = services.engine.info, services.engine.stats()  # those of the default model
    stored = await services.store.count_stored()
    uptime = now_utc() - services.started_at_utc
    first, total = _percentiles(stats.first_token_ms), _percentiles(stats.total_ms)
    yield Card(
        blocks=(
            _facts_of_model(info),
            Facts(
                (
                    ("tokens/s", _figure(stats.tokens_per_s, "")),
                    ("waiting", str(stats.num_waiting)),
                    ("running", str(stats.num_running)),
                    ("done", str(stats.num_done)),
                    ("failed", str(stats.num_failed)),
                )
            ),
            *_table_of_models(services),
            Facts(
                (
                    ("first token p50", _figure(first.get("p50"), " ms")),
                    ("p95", _figure(first.get("p95"), " ms")),
                    ("whole answer p50", _figure(total.get("p50"), " ms")),
                    ("p95", _figure(total.get("p95"), " ms")),
                )
            ),
            Facts(
                (
                    ("uptime", str(uptime).split(".", maxsplit=1)[0]),
                    ("messages", f"{stored.num_messages:,}"),
                    ("replies", f"{stored.num_replies:,}"),
                    ("database", f"{stored.num_bytes / 2**20:.1f} MiB"),
                )
            ),
            *_facts_of_platform(services),
            Facts(
                (
                    ("longest wait for the event loop in the last minute", _milliseconds(_stall_s(services, MINUTE_S))),
                    ("in the last hour", _milliseconds(_stall_s(services, HOUR_S))),
                    ("longest write", _milliseconds(services.store.longest_turn_s)),
                )
            ),
        ),
        data=_stats_data(services, stored),
    )


def _facts_of_model(info: ModelInfo) -> Facts:
    return Facts(
        (
            ("model", info.name),
            *([("parameters", f"{info.num_parameters:,}")] if info.num_parameters else []),
            ("server" if info.server else "device", info.device),
            ("precision", info.precision),
            ("context", f"{info.context_length:,} tokens"),
        )
    )


def _table_of_models(services: Services) -> tuple[Table, ...]:
    """Return the figures of each model where there are several; all other figures are the default one's."""
    states = services.models.states() if len(services.models.names) > 1 else ()
    if not states:
        return ()
    rows = tuple(
        (
            state.name,
            _figure(state.stats.tokens_per_s if state.stats else None, ""),
            str(state.stats.num_waiting if state.stats and state.is_loaded else 0),
            str(state.stats.num_running if state.stats and state.is_loaded else 0),
            str(state.num_done),
            str(state.num_failed),
        )
        for state in states
    )
    return (Table(("model", "tokens/s", "waiting", "running", "done", "failed"), rows),)


def _facts_of_platform(services: Services) -> tuple[Facts, ...]:
    figures = services.platform_figures.values()
    return (Facts(tuple((figure.label, f"{figure.read():,}") for figure in figures)),) if figures else ()


def _stall_s(services: Services, within_s: float) -> float:
    return services.stalls.longest_s(within_s, asyncio.get_running_loop().time())


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms"


def _stats_data(services: Services, stored: StoreStats) -> dict[str, Any]:
    info, stats = services.engine.info, services.engine.stats()
    return {
        "model": info.name,
        "device": info.device,
        "precision": info.precision,
        "context_length": info.context_length,
        "num_parameters": info.num_parameters or None,
        "tokens_per_s": stats.tokens_per_s,
        "num_waiting": stats.num_waiting,
        "num_running": stats.num_running,
        "num_done": stats.num_done,
        "num_failed": stats.num_failed,
        "models": [
            {
                "model": state.name,
                "is_loaded": state.is_loaded,
                "num_done": state.num_done,
                "num_failed": state.num_failed,
            }
            for state in services.models.states()
        ],
        "first_token_ms": _percentiles(stats.first_token_ms),
        "total_ms": _percentiles(stats.total_ms),
        "uptime_s": (now_utc() - services.started_at_utc).total_seconds(),
        "num_messages": stored.num_messages,
        "num_replies": stored.num_replies,
        "num_bytes": stored.num_bytes,
        "longest_stall_s": {"minute": _stall_s(services, MINUTE_S), "hour": _stall_s(services, HOUR_S)},
        "longest_write_s": services.store.longest_turn_s,
        **{name: figure.read() for name, figure in services.platform_figures.items()},
    }


def _commands_by_first_word(request: Request) -> dict[str, list[Command]]:
    families: dict[str, list[Command]] = {}
    for command in request.commands.values():
        families.setdefault(command.name.split()[0], []).append(command)
    return families


_MORE_HELP: Final = (
    f"{mention('help COMMAND')} explains a command, {mention('help options')} the options and {mention('help presets')}"
    " the presets."
)


async def _how_to_chat(request: Request) -> str:
    """Say which messages the model answers where help was asked for."""
    scope = request.message.scope
    traits = request.services.traits
    if scope.kind == "foreign" or (scope.kind == "group" and not traits.reads_groups):
        return "Only commands are answered here: I read no other messages."
    place = await request.services.place_of(scope)
    if place.story_since is not None:
        return "A story is being written here, and what you say becomes part of it."
    answer_when = place.values["answer_when"]
    if scope.kind != "terminal" and answer_when == "never":
        return "Only commands are answered here."
    if scope.kind == "group" or (scope.kind == "server" and answer_when == "mention"):
        if traits.replies_in_threads:
            return "To chat, mention me, or write in a thread in which I have answered."
        return "To chat, mention me or reply to my message."
    return "Any other message is chat."


async def answer_help(request: Request) -> Cards:
    """List the commands, or explain one, or one of the other topics."""
    name = " ".join(request.text.split()).lower().removeprefix(request.services.command_prefix).lstrip(DASHES)
    commands = request.commands
    services = request.services
    spelling = Spelling.for_reader(commands, services.traits, services.command_prefix, request.message.reach)
    if not name:
        usable = [one for one in commands.values() if _is_of_use(one, request)]
        yield _list_of(usable, spelling, f"{await _how_to_chat(request)} {_MORE_HELP}")
        return
    found = [commands[name]] if name in commands else _commands_by_first_word(request).get(name, [])
    if not found:
        rows = await _rows_of_commands(request)
        card = topic_card(name, spelling)
        if card is None and (row := rows.get(name.replace("-", "_"))):
            card = _row_card(*row)
        if card is not None:
            yield card
            return
        known = sorted({*commands, *_commands_by_first_word(request), *TOPICS, *rows})
        hint = suggest(name, known, _MORE_HELP, shown=lambda topic: mention(f"help {topic}"))
        raise RequestError(f"There is no help on {quote(name)}; {hint}")
    if len(found) > 1:
        usable = [one for one in found if _is_of_use(one, request)]
        yield _list_of(usable or found, spelling, f"{mention(f'help {found[0].name}')} explains one of them.")
        return
    yield await _help_on(found[0], request, spelling)


def _is_of_use(command: Command, request: Request) -> bool:
    """Say whether the person can do something with `command` there: not only be told why it does nothing."""
    traits = request.services.traits
    can_point = traits.has_replies or not command.needs_reply
    return can_point and why_not(command, request.message, traits) is None


async def _rows_of_commands(request: Request) -> dict[str, tuple[Command, Table]]:
    """Return what help lists of commands besides their options, such as each setting: its name, command and table."""
    rows = {}
    for command in request.commands.values():
        if command.help_table is not None:
            table = await command.help_table(request)
            rows.update({row[0]: (command, Table(table.columns, (row,))) for row in table.rows})
    return rows


def _row_card(command: Command, table: Table) -> Card:
    """Return the help on one row of a command's table."""
    ((name, *_),) = table.rows
    note = f"{mention(f'{command.name} {name}')} shows it and how to change it. All: {mention(f'help {command.name}')}."
    data = {"topic": dict(zip(table.columns, table.rows[0], strict=True))}
    return Card(blocks=(table, Text(note, is_quiet=True)), data=data, answers="private")


def _list_of(commands: Sequence[Command], spelling: Spelling, note: str) -> Card:
    rows = tuple((spelling.usage(one).replace(" [--option value …]", ""), one.summary) for one in commands)
    return Card(
        blocks=(Table(("command", "what it does"), rows), Text(note, is_quiet=True)),
        data={
            "commands": {one.name: one.summary for one in commands},
            "usage": [spelling.usage(one) for one in commands],
        },
        answers="private",
    )


async def _help_on(command: Command, request: Request, spelling: Spelling) -> Card:
    """Return the card that explains one command."""
    traits = request.services.traits
    blocks: list[Block] = []
    blocks.append(Text(f"{spelling.usage(command)}\n  {command.summary}"))
    if (reason := why_not(command, request.message, traits)) is not None:
        blocks.append(Text(reason, is_quiet=True))
    if command.needs_reply and not traits.has_replies:
        where = traits.name
        blocks.append(Text(f"In {where} nothing can be replied to; {mention(command.name)} says what to do instead."))
    elif details := (traits.replies_in_threads and command.details_in_threads) or command.details:
        blocks.append(Text(details))
    if command.words:
        blocks.append(Text(_how_to_answer(command, traits)))
    if command.options:
        options = tuple((spelling.option(option), option.takes, option.help) for option in command.options)
        blocks.append(Table(("option", "values", "meaning"), options))
    if command.help_table is not None:
        blocks.append(await command.help_table(request))
    blocks += [Text(f"  {mention(example)}", is_quiet=True) for example in command.examples]
    return Card(blocks=tuple(blocks), data={"usage": [spelling.usage(command)]}, answers="private")


def _how_to_answer(command: Command, traits: PlatformTraits) -> str:
    """Say how the words of `command` reach its answer on the platform."""
    *first, last = command.words
    words = f"{', '.join(first)} or {last}"
    if not traits.has_buttons:
        return f"After the answer type {words}."
    how = f"write {words} in its thread" if traits.replies_in_threads else f"reply to it with {words}"
    return f"Press a button of the answer, or {how}; in a direct message the word alone is enough."


COMMANDS: Final = (
    Command(
        name="fresh",
        needs_model=False,
        summary="Start the conversation over: nothing above is read again",
        answer=answer_fresh,
        needs_conversation=True,
    ),
    Command(
        name="context",
        summary="Show what the model would read now, in tokens",
        answer=answer_context,
        find_model=find_chat_model,
        needs_conversation=True,
    ),
    Command(
        name="stats",
        needs_model=False,
        summary="Show the model, its speed, the queue and what is stored",
        answer=answer_stats,
    ),
    Command(
        name="help",
        needs_model=False,
        summary="Show all commands, or explain one",
        answer=answer_help,
        text="optional",
        text_name="COMMAND",
        is_text_raw=True,
        # The list is long: in a busy channel only the asker sees it, if the platform can do that.
        answers="private",
        is_secret=False,
        examples=("help complete",),
    ),
)
