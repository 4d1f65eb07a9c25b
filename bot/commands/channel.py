"""Commands about the conversation and the bot: settings, fresh, context, stats, help."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Option, Request
from bot.commands.framework.request import check_moderator
from bot.commands.framework.spelling import Spelling
from bot.core.cards import Block, Card, Facts, Select, SelectOption, Table, Text
from bot.core.channel_settings import SETTING_LEVELS, ChannelSetting
from bot.core.mentions import mention
from bot.core.messages import Click, Scope, now_utc
from bot.core.results import Percentiles
from bot.core.stopping import Stopper
from bot.core.suggesting import suggest
from bot.core.wording import quote
from bot.errors import RequestError
from bot.services.open_cards import open_card
from bot.store.cards import OpenCard
from bot.store.channel_settings import SettingLevel
from bot.store.retention import StoreStats

RESET: Final = "default"
SETTINGS_CARD: Final = "settings"
_LIFETIME: Final = timedelta(days=365)
# These have a select on the card; the others are typed.
_SELECTED: Final = ("chat_template", "preset", "answer_when")


async def answer_settings(request: Request) -> Cards:
    """Show the settings, or change one."""
    services = request.services
    scope = request.message.scope
    if "NAME" in request.arguments:
        await _change_setting(request, request.arguments["NAME"], request.arguments.get("VALUE", ""))
    card = None
    if request.services.traits.has_buttons and request.may_store:
        card = await open_card(services.store, scope, request.message.author.id, SETTINGS_CARD, {}, lives=_LIFETIME)
    yield await _settings_card(services, scope, card)


async def act_on_settings(services: Services, click: Click, card: OpenCard, stopper: Stopper) -> Cards:
    """Change the setting whose select was used, for this channel, and show all settings again."""
    check_moderator(click.author, "settings")
    if click.action not in _SELECTED:
        raise RequestError(f"That setting has no menu. Use {mention('settings NAME VALUE')}.")
    value = (await services.declared_in(click.scope))[click.action].read(click.action, click.value)
    await services.store.set_setting(click.scope, "channel", click.action, value)
    yield await _settings_card(services, click.scope, card)


async def _settings_card(services: Services, scope: Scope, card: OpenCard | None) -> Card:
    stored = await services.store.get_settings(scope)
    declared = await services.declared_in(scope)
    values = {name: stored.get(name, setting.default) for name, setting in declared.items()}
    rows = [
        (name, values[name] or "—", "set" if name in stored else RESET, setting.help)
        for name, setting in declared.items()
    ]
    shown = Card(
        blocks=(Table(("setting", "value", "", "meaning"), tuple(rows)),),
        data={"settings": values},
    )
    if card is None:
        return shown
    selects = tuple(_select(declared[name], values[name]) for name in _SELECTED)
    return replace(shown, selects=selects, open_card_id=card.id, revision=card.revision)


def _select(setting: ChannelSetting, value: str) -> Select:
    options = (SelectOption(choice, choice, is_chosen=choice == value) for choice in setting.choices)
    return Select(setting.name, setting.help, tuple(options))


async def _change_setting(request: Request, name: str, value: str) -> None:
    settings = await request.services.declared_in(request.message.scope)
    if name not in settings:
        hint = suggest(name, settings, f"choose from {', '.join(settings)}.")
        raise RequestError(f"There is no setting {quote(name)}; {hint}")
    setting = settings[name]
    if not value:
        raise RequestError(f"VALUE is missing. {name} takes {setting.takes}; {RESET} resets it.")
    level: SettingLevel = "server" if setting.is_server_only else request.options.get("level", "channel")
    checked = None if value == RESET else setting.read(name, value)
    await request.services.store.set_setting(request.message.scope, level, name, checked)


async def answer_fresh(request: Request) -> Cards:
    """Start the conversation over: nothing above is read again."""
    await request.services.store.mark_fresh(request.message.scope)
    yield Card(
        blocks=(Text("Fresh start: the bot does not read anything above."),),
        data={"text": "Fresh start: the bot does not read anything said before."},
    )


async def answer_context(request: Request) -> Cards:
    """Show what the model would read now, in tokens."""
    services = request.services
    use = await services.chat.count_context(request.message.scope)
    rows = (
        ("template and examples", f"{use.num_template_tokens:,}"),
        (f"history ({use.num_turns} turns)", f"{use.num_history_tokens:,}"),
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
    yield Card(
        blocks=(*blocks, *dropped),
        data={
            "template": use.template_name,
            "num_template_tokens": use.num_template_tokens,
            "num_history_tokens": use.num_history_tokens,
            "num_turns": use.num_turns,
            "num_messages_dropped": use.num_messages_dropped,
            "num_answer_tokens": use.num_answer_tokens,
            "num_free_tokens": use.num_free_tokens,
            "context_length": use.context_length,
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
    info, stats = services.engine.info, services.engine.stats()
    stored = await services.store.count_stored()
    uptime = now_utc() - services.started_at_utc
    first, total = _percentiles(stats.first_token_ms), _percentiles(stats.total_ms)
    yield Card(
        blocks=(
            Facts(
                (
                    ("model", info.name),
                    ("parameters", f"{info.num_parameters:,}"),
                    ("device", info.device),
                    ("precision", info.precision),
                    ("context", f"{info.context_length:,} tokens"),
                )
            ),
            Facts(
                (
                    ("tokens/s", _figure(stats.tokens_per_s, "")),
                    ("waiting", str(stats.num_waiting)),
                    ("running", str(stats.num_running)),
                    ("done", str(stats.num_done)),
                    ("failed", str(stats.num_failed)),
                )
            ),
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
        ),
        data=_stats_data(services, stored),
    )


def _stats_data(services: Services, stored: StoreStats) -> dict[str, Any]:
    info, stats = services.engine.info, services.engine.stats()
    return {
        "model": info.name,
        "device": info.device,
        "precision": info.precision,
        "context_length": info.context_length,
        "num_parameters": info.num_parameters,
        "tokens_per_s": stats.tokens_per_s,
        "num_waiting": stats.num_waiting,
        "num_running": stats.num_running,
        "num_done": stats.num_done,
        "num_failed": stats.num_failed,
        "first_token_ms": _percentiles(stats.first_token_ms),
        "total_ms": _percentiles(stats.total_ms),
        "uptime_s": (now_utc() - services.started_at_utc).total_seconds(),
        "num_messages": stored.num_messages,
        "num_replies": stored.num_replies,
        "num_bytes": stored.num_bytes,
    }


def _commands_by_first_word(request: Request) -> dict[str, list[Command]]:
    families: dict[str, list[Command]] = {}
    for command in request.commands.values():
        families.setdefault(command.name.split()[0], []).append(command)
    return families


async def answer_help(request: Request) -> Cards:
    """List the commands, or explain one."""
    name = " ".join(request.text.split()).lower().removeprefix(request.services.command_prefix)
    commands = request.commands
    services = request.services
    spelling = Spelling.for_reader(commands, services.traits, services.command_prefix, request.message.reach)
    if not name:
        rows = tuple(
            (spelling.usage(command).replace("[--option value …] ", ""), command.summary)
            for command in commands.values()
        )
        yield Card(
            blocks=(
                Table(("command", "what it does"), rows),
                Text(f"Any other message is chat. {mention('help COMMAND')} explains a command.", is_quiet=True),
            ),
            data={"commands": {c.name: c.summary for c in commands.values()}},
            answers="private",
        )
        return
    found = [commands[name]] if name in commands else _commands_by_first_word(request).get(name, [])
    if not found:
        known = sorted({*commands, *_commands_by_first_word(request)})
        hint = suggest(name, known, f"{mention('help')} lists all commands.", shown=mention)
        raise RequestError(f"There is no command {quote(name)}; {hint}")
    blocks: list[Block] = []
    for command in found:
        blocks.append(Text(f"{spelling.usage(command)}\n  {command.summary}"))
        if command.details:
            blocks.append(Text(command.details))
        if command.options:
            options = tuple((spelling.option(option), option.takes, option.help) for option in command.options)
            blocks.append(Table(("option", "values", "meaning"), options))
        blocks += [Text(f"  {mention(example)}", is_quiet=True) for example in command.examples]
    usage = [spelling.usage(command) for command in found]
    yield Card(blocks=tuple(blocks), data={"usage": usage}, answers="private")


_LEVEL: Final = Option("level", "choice", "where it applies: this channel, or the whole server", choices=SETTING_LEVELS)

COMMANDS: Final = (
    Command(
        name="settings",
        summary="Show the settings of this channel and server, or change one",
        answer=answer_settings,
        arguments=("NAME", "VALUE"),
        num_optional_arguments=2,
        takes_rest=True,
        options=(_LEVEL,),
        who="moderators",
        examples=("settings preset careful", "settings --level server history_length 20", "settings preset default"),
    ),
    Command(name="fresh", summary="Start the conversation over: nothing above is read again", answer=answer_fresh),
    Command(name="context", summary="Show what the model would read now, in tokens", answer=answer_context),
    Command(name="stats", summary="Show the model, its speed, the queue and what is stored", answer=answer_stats),
    Command(
        name="help",
        summary="Show all commands, or explain one",
        answer=answer_help,
        text="optional",
        text_name="COMMAND",
        # The list is long: in a busy channel only the asker sees it, if the platform can do that.
        answers="private",
        is_secret=False,
        examples=("help complete",),
    ),
)
