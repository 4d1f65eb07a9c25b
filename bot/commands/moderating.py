"""Commands against bad answers: purge removes them, report shows one to the moderators."""

from collections import Counter
from collections.abc import Container, Sequence
from typing import Final

from bot.commands.framework.command import Cards, Command, Request
from bot.commands.framework.request import asked_line
from bot.core.cards import Block, Card, Facts, Text
from bot.core.history import HistoryMessage
from bot.core.mentions import mention
from bot.core.safe_text import clean_model_text, clean_name
from bot.core.wording import quote
from bot.errors import RequestError
from bot.services.open_cards import COMPLETING, COMPLETION_CARD

MAX_PURGED: Final = 50
# The terminal's messages that are looked through for the last MAX_PURGED answers.
_NUM_LOOKED_AT: Final = 500


async def answer_purge(request: Request) -> Cards:
    """Remove the bot's last N answers in this conversation, and say which."""
    store, scope = request.services.store, request.message.scope
    typed = request.arguments["N"]
    if not (typed.isascii() and typed.isdigit() and len(typed) < 4 and 1 <= int(typed) <= MAX_PURGED):
        raise RequestError(f"N takes a whole number from 1 to {MAX_PURGED}, not {quote(typed)}.")
    sent_ids = await store.recent_replies(scope, int(typed))
    if sent_ids:
        asked = {await store.request_of(scope.platform, sent_id): sent_id for sent_id in reversed(sent_ids)}
        messages = await store.load_messages(scope, [one for one in reversed(asked) if one])
        answers = _counted([await _name_of(request, message, asked[message.id]) for message in messages])
        num = max(await store.erase_sent(scope.platform, sent_ids), len(sent_ids))
        of_which = f": {answers}" if answers else ""
        sentence = f"Removed {num} {'message' if num == 1 else 'messages'} of the bot{of_which}."
    else:
        num, sentence = await _erase_stored(request, int(typed))
    yield Card(
        blocks=(Text(sentence),),
        data={"text": sentence, "num_removed": num},
        answers="private",
        removed_ids=tuple(sent_ids),
    )


async def _erase_stored(request: Request, num: int) -> tuple[int, str]:
    """Erase answers that are no messages of a platform, as in a terminal; return how many, and a sentence.

    All steps of a completion are one answer, as they are one message elsewhere.
    """
    store, scope = request.services.store, request.message.scope
    erased: dict[str, str] = {}  # the names of what was erased, by the ids of the answers
    unstored: list[str] = []
    for asked in await store.recent_asked(scope, limit=_NUM_LOOKED_AT):
        is_enough = len(erased) + len(unstored) >= num
        if asked.reply_id is not None:
            reply = await store.get_reply(scope, asked.reply_id)
            if reply is None:
                continue
            is_completion = reply.provenance.command in COMPLETING and bool(reply.read)
            answer_id = reply.read[0].message_id if is_completion else asked.reply_id
            if answer_id in erased or not is_enough:
                erased[answer_id] = reply.provenance.command
                await store.discard_reply(scope.platform, asked.message.id)
        elif not is_enough:
            line = asked_line(asked.message, request.services.command_prefix, request.commands)
            if line is not None and line.command.texts_measured:
                unstored.append(line.command.name)
    await _close_completion(request, erased)
    if not erased and not unstored:
        return 0, "There are no stored answers of the bot here. What only measures a text is not stored."
    parts = []
    if erased:
        noun = "stored answer" if len(erased) == 1 else "stored answers"
        parts.append(f"Erased {len(erased)} {noun}: {_counted([*erased.values()])}.")
    if unstored:
        last = "the last answer" if len(unstored) == 1 else f"of the last answers {len(unstored)}"
        verb = "is" if len(unstored) == 1 else "are"
        begin = "" if erased else "Nothing was erased: "
        name = f"{begin}{last} {verb} not stored, because it only measures a text ({_counted(unstored)})."
        parts.append(name[0].upper() + name[1:])
    return len(erased), " ".join(parts)


async def _close_completion(request: Request, erased: Container[str]) -> None:
    """Close the asker's newest card if it has the words of a completion of a message in `erased`."""
    store, message = request.services.store, request.message
    card = await store.latest_open_card(message.scope, message.author.id)
    if card is not None and card.kind == COMPLETION_CARD and card.state["message_id"] in erased:
        await store.close_open_card(message.scope, card.id)


async def _name_of(request: Request, asked: HistoryMessage, sent_id: str) -> str:
    """Return the name of the command that `sent_id` answers, else chat; a number or word means its card's command."""
    store, scope = request.services.store, request.message.scope
    reply_id = await store.reply_of(scope.platform, sent_id)
    reply = await store.get_reply(scope, reply_id) if reply_id else None
    if reply is not None:
        return reply.provenance.command
    line = asked_line(asked, request.services.command_prefix, request.commands)
    return line.command.name if line is not None else "chat"


def _counted(names: Sequence[str]) -> str:
    """Return names as a list, each once with its number."""
    return ", ".join(name if num == 1 else f"{num} × {name}" for name, num in Counter(names).items())


async def answer_report(request: Request) -> Cards:
    """Send an answer of the bot to the moderators' channel."""
    services, message = request.services, request.message
    scope = message.scope
    if not services.traits.has_replies:
        raise RequestError(
            f"In {services.traits.name} nobody else reads along, so there is nobody to report to."
            f" {mention('purge 1')} erases my last answer."
        )
    channel = (await services.settings_in(scope))["report_channel"]
    if not channel:
        how = mention("settings report_channel CHANNEL")
        here = f"This {services.traits.server_word}"
        raise RequestError(f"{here} has no channel for reports. A moderator can choose one with {how}.")
    if message.reply_to is not None:
        reply = await services.store.get_reply(scope, message.reply_to)
    elif message.reach == "form" or services.traits.replies_in_threads:
        # A slash command can't be a reply, and in a thread none is.
        reply = await services.store.last_reply(scope)
    else:
        raise RequestError(f"To report an answer, reply to it with {mention('report')}.")
    if reply is None and message.reply_to is None:
        raise RequestError("There is no answer of the bot here to report.")
    if reply is None:
        raise RequestError("That is not an answer of the bot, or it was deleted.")
    facts = Facts((("reported by", clean_name(message.author.name)),))
    blocks: list[Block] = [Text("A member reported an answer of the bot."), facts]
    if request.text.strip():
        blocks.append(Text(f"Reason: {clean_model_text(request.text.strip())[:1000]}"))
    blocks.append(Text(reply.message.text, is_model_text=True))
    sentence = f"The moderators of this {services.traits.server_word} can now read that answer."
    yield Card(
        blocks=(Text(sentence),),
        data={"text": sentence, "reported": reply.message.text},
        answers="private",
        notices=((channel, Card(blocks=tuple(blocks), data={"reported": reply.message.text})),),
    )


COMMANDS: Final = (
    Command(
        name="purge",
        needs_model=False,
        summary=f"Remove the bot's last N answers here, 1 to {MAX_PURGED}",
        answer=answer_purge,
        arguments=("N",),
        who="moderators",
        needs_conversation=True,
        answers="private",
        is_secret=False,
        examples=("purge 3",),
    ),
    Command(
        name="report",
        needs_model=False,
        summary="Report an answer of the bot to the moderators",
        answer=answer_report,
        text="optional",
        text_name="REASON",
        answers="private",
        is_secret=False,
        needs_reply=True,
        needs_conversation=True,
        needs_moderators=True,
        details="Use it in reply to the answer. If it can't be a reply, it reports the last answer here.",
        details_in_threads="It reports the last answer in the thread, or the last one in the channel.",
        examples=("report that is rude",),
    ),
)
