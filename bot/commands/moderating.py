"""Commands against answers that should not stand: purge takes them away, report shows one to the moderators."""

from typing import Final

from bot.commands.framework.command import Cards, Command, Request
from bot.core.cards import Block, Card, Facts, Text
from bot.core.safe_text import clean_model_text, clean_name
from bot.core.wording import quote
from bot.errors import RequestError

MAX_PURGED: Final = 50


async def answer_purge(request: Request) -> Cards:
    """Take away the bot's last N answers in this conversation."""
    store, scope = request.services.store, request.message.scope
    typed = request.arguments["N"]
    if not (typed.isascii() and typed.isdigit() and len(typed) < 4 and 1 <= int(typed) <= MAX_PURGED):
        raise RequestError(f"N takes a whole number from 1 to {MAX_PURGED}, not {quote(typed)}.")
    sent_ids = await store.recent_replies(scope, int(typed))
    num = await store.erase_sent(scope.platform, sent_ids)
    if not sent_ids:
        # What was shown elsewhere than in messages of the platform, as in a terminal, is only in the store.
        while num < int(typed) and (reply := await store.last_reply(scope)):
            await store.delete_message(scope.platform, reply.message.id)
            num += 1
    num_shown = max(num, len(sent_ids))
    sentence = f"Taken away: {num_shown} {'message' if num_shown == 1 else 'messages'} of the bot."
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
        raise RequestError("A direct message has no moderators; forget erases an answer here.")
    channel = (await services.settings_in(scope))["report_channel"]
    if not channel:
        raise RequestError("This server has no channel for reports; a moderator sets one with settings report_channel.")
    if message.reply_to is not None:
        reply = await services.store.get_reply(scope, message.reply_to)
    elif message.reach == "form":
        # A command that the platform itself offers can't be a reply.
        reply = await services.store.last_reply(scope)
    else:
        raise RequestError("Say report in reply to the answer that you mean.")
    if reply is None:
        raise RequestError("That is no answer of the bot, or it is gone.")
    facts = Facts((("reported by", clean_name(message.author.name)),))
    blocks: list[Block] = [Text("An answer of the bot was reported."), facts]
    if request.text.strip():
        blocks.append(Text(f"Because: {clean_model_text(request.text.strip())[:1000]}"))
    blocks.append(Text(reply.message.text, is_model_text=True))
    sentence = "The moderators of this server can read that answer now."
    yield Card(
        blocks=(Text(sentence),),
        data={"text": sentence, "reported": reply.message.text},
        answers="private",
        notices=((channel, Card(blocks=tuple(blocks), data={"reported": reply.message.text})),),
    )


COMMANDS: Final = (
    Command(
        name="purge",
        summary=f"takes away the bot's last N answers here, 1 to {MAX_PURGED}",
        answer=answer_purge,
        arguments=("N",),
        who="moderators",
        answers="private",
        is_secret=False,
        examples=("purge 3",),
    ),
    Command(
        name="report",
        summary="shows an answer of the bot to the moderators: the one replied to, by slash command the last one",
        answer=answer_report,
        text="optional",
        text_name="REASON",
        answers="private",
        is_secret=False,
        examples=("report that is rude",),
    ),
)
