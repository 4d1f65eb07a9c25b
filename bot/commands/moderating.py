"""Commands against bad answers: purge removes them, report shows one to the moderators."""

from typing import Final

from bot.commands.framework.command import Cards, Command, Request
from bot.core.cards import Block, Card, Facts, Text
from bot.core.mentions import mention
from bot.core.safe_text import clean_model_text, clean_name
from bot.core.wording import quote
from bot.errors import RequestError

MAX_PURGED: Final = 50


async def answer_purge(request: Request) -> Cards:
    """Remove the bot's last N answers in this conversation."""
    store, scope = request.services.store, request.message.scope
    typed = request.arguments["N"]
    if not (typed.isascii() and typed.isdigit() and len(typed) < 4 and 1 <= int(typed) <= MAX_PURGED):
        raise RequestError(f"N takes a whole number from 1 to {MAX_PURGED}, not {quote(typed)}.")
    sent_ids = await store.recent_replies(scope, int(typed))
    num = await store.erase_sent(scope.platform, sent_ids)
    if not sent_ids:
        # Answers that are not messages of a platform, as in a terminal, are only in the store.
        while num < int(typed) and (reply := await store.last_reply(scope)):
            await store.delete_message(scope.platform, reply.message.id)
            num += 1
    num_shown = max(num, len(sent_ids))
    sentence = f"Removed {num_shown} {'message' if num_shown == 1 else 'messages'} of the bot."
    yield Card(
        blocks=(Text(sentence),),
        data={"text": sentence, "num_removed": num_shown},
        answers="private",
        removed_ids=tuple(sent_ids),
    )


async def answer_report(request: Request) -> Cards:
    """Send an answer of the bot to the moderators' channel."""
    services, message = request.services, request.message
    scope = message.scope
    if scope.is_direct:
        raise RequestError(f"Direct messages have no moderators. To erase an answer here, use {mention('forget')}.")
    channel = (await services.settings_in(scope))["report_channel"]
    if not channel:
        how = mention("settings report_channel CHANNEL")
        raise RequestError(f"This server has no channel for reports. A moderator can choose one with {how}.")
    if message.reply_to is not None:
        reply = await services.store.get_reply(scope, message.reply_to)
    elif message.reach == "form":
        # A slash command can't be a reply.
        reply = await services.store.last_reply(scope)
    else:
        raise RequestError(f"To report an answer, reply to it with {mention('report')}.")
    if reply is None:
        raise RequestError("That is not an answer of the bot, or it was deleted.")
    facts = Facts((("reported by", clean_name(message.author.name)),))
    blocks: list[Block] = [Text("A member reported an answer of the bot."), facts]
    if request.text.strip():
        blocks.append(Text(f"Reason: {clean_model_text(request.text.strip())[:1000]}"))
    blocks.append(Text(reply.message.text, is_model_text=True))
    sentence = "The moderators of this server can now read that answer."
    yield Card(
        blocks=(Text(sentence),),
        data={"text": sentence, "reported": reply.message.text},
        answers="private",
        notices=((channel, Card(blocks=tuple(blocks), data={"reported": reply.message.text})),),
    )


COMMANDS: Final = (
    Command(
        name="purge",
        summary=f"Remove the bot's last N answers here, 1 to {MAX_PURGED}",
        answer=answer_purge,
        arguments=("N",),
        who="moderators",
        answers="private",
        is_secret=False,
        examples=("purge 3",),
    ),
    Command(
        name="report",
        summary="Report an answer of the bot to the moderators",
        answer=answer_report,
        text="optional",
        text_name="REASON",
        answers="private",
        is_secret=False,
        details="Use it in reply to the answer. If it can't be a reply, it reports the last answer here.",
        examples=("report that is rude",),
    ),
)
