"""Examples that members propose for templates, and their list for moderators."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Option, Request, TextSource
from bot.commands.framework.request import check_owner, load_asked
from bot.core.cards import Block, Card, Form, FormField, SelectOption, Table, Text
from bot.core.mentions import mention
from bot.core.messages import Author, FormSubmitted, Scope
from bot.core.safe_text import clean_name, one_line, replace_lone_surrogates
from bot.core.templates.template import Example, PromptTemplate
from bot.core.wording import quote
from bot.errors import RequestError
from bot.services.open_cards import new_card, open_card
from bot.store.cards import OpenCard
from bot.store.messages import EXAMPLE_FORM, PROPOSAL_CARD

# Moderators read these in a list, so a row is short.
MAX_CHARACTERS: Final = 4000
_FORM_LIFETIME: Final = timedelta(days=1)
_PROPOSAL_LIFETIME: Final = timedelta(days=365)
_NUM_LISTED: Final = 25
_BETWEEN_NUMBERS: Final = re.compile(r"[\s,;]+")


@dataclass(frozen=True, slots=True)
class Proposal:
    """An example that a member proposed; moderators name it by its number, which never changes."""

    card: OpenCard

    @property
    def number(self) -> int:
        """Return the number, which counts from 1 for each template of a server."""
        return int(self.card.state["number"])

    @property
    def row(self) -> Example:
        """Return the proposed row."""
        return Example(self.card.state["input"], self.card.state["output"])


async def answer_example(request: Request) -> Cards:
    """Propose the text as the input of an example: at once if template and output are given, else with a form.

    In reply to a template's answer, the input is what was asked there, and the text is the right output.
    """
    services, message = request.services, request.message
    if not request.may_store:
        raise RequestError(
            "You asked not to be read, so you can't propose examples. To be read again, use"
            f" {mention('privacy --read on')}."
        )
    template, output = request.options.get("template", ""), request.options.get("output", "")
    input, source_id = request.text, request.source.message_id
    if answered := await _answered(request):
        if source_id != message.reply_to:
            output = output or request.text
        template, (input, source) = template or answered[0], answered[1]
        source_id = source.message_id
    if template and output:
        yield await propose(services, message.scope, message.author, (template, input, output), source_id)
        return
    if not request.services.traits.has_buttons:
        raise RequestError(
            f"Name the template and the output: {mention('prompt example --template NAME --output TEXT INPUT')}"
        )
    names = [one.name for one in await services.templates.of(message.scope) if one.kind != "chat"]
    if template:
        names = [
            (await _checked_template(services, message.scope, template)).name,
            *(name for name in names if name != template),
        ]
    card = await open_card(
        services.store,
        message.scope,
        message.author.id,
        EXAMPLE_FORM,
        {},
        source_message_id=source_id,
        lives=_FORM_LIFETIME,
    )
    hint = f"It answered: {one_line(request.text)[:80]}" if answered and source_id != message.reply_to else ""
    options = tuple(SelectOption(name, name, is_chosen=name == template) for name in names)
    yield Card(
        form=Form(
            card.id,
            "Use as example",
            (
                FormField("template", "Template", "choice", options=options),
                FormField("input", "Input", "paragraph", value=input[: services.traits.max_form_characters]),
                FormField("output", "What it should answer", "paragraph", help=hint, value=output),
            ),
        ),
        answers="private",
    )


async def _answered(request: Request) -> tuple[str, tuple[str, TextSource]] | None:
    """Return the template and the input of the bot's answer that the request replies to."""
    services, message = request.services, request.message
    if message.reply_to is None:
        return None
    reply = await services.store.get_reply(message.scope, message.reply_to)
    if reply is None or reply.provenance.command != "prompt run" or reply.provenance.template is None:
        return None
    if not reply.provenance.read:
        return None
    asked_id = reply.provenance.read[0].message_id
    is_line = bool(reply.provenance.prompt_inputs.get("is_command_line", True))
    for asked in await services.store.load_messages(message.scope, [asked_id]):
        if await services.store.is_opted_out(message.scope.platform, asked.author_id):
            return None
    source = TextSource(asked_id, is_command_line=is_line)
    found = await load_asked(services.store, message.scope, source, services.command_prefix, request.commands)
    if found is None:
        raise RequestError("The message behind that answer was deleted, so it can't become an example.")
    return reply.provenance.template.name, found


async def submit_example(services: Services, submitted: FormSubmitted, card: OpenCard) -> Cards:
    """Store the submitted form as a proposal."""
    check_owner(card, submitted.author, "form", "prompt example INPUT")
    values = submitted.values
    example = (values.get("template", ""), values.get("input", ""), values.get("output", ""))
    yield await propose(services, submitted.scope, submitted.author, example, card.source_message_id)


async def _checked_template(services: Services, scope: Scope, name: str) -> PromptTemplate:
    template = await services.templates.get(scope, name)
    if template.kind == "chat":
        raise RequestError(f"{name} is a chat template. Choose a template that takes an input.")
    return template


async def propose(
    services: Services, scope: Scope, author: Author, example: tuple[str, str, str], source_id: str | None
) -> Card:
    """Store (template, input, output) as a proposal. Raises RequestError if it can't be an example."""
    name, input, output = (replace_lone_surrogates(value).strip() for value in example)
    template = await _checked_template(services, scope, name)
    for what, value in (("input", input), ("output", output)):
        if not 1 <= len(value) <= MAX_CHARACTERS:
            raise RequestError(f"The {what} takes 1 to {MAX_CHARACTERS:,} characters, not {len(value):,}.")
    if template.labels:
        labels = {label.casefold(): label for label in template.labels}
        if output.casefold() not in labels:
            raise RequestError(f"The output of {name} is one of {', '.join(template.labels)}.")
        output = labels[output.casefold()]
    state = {"template": name, "input": input, "output": output, "by": clean_name(author.name)}
    card = new_card(scope, author.id, PROPOSAL_CARD, state, source_message_id=source_id, lives=_PROPOSAL_LIFETIME)
    card = await services.store.add_proposal(card)
    sentence = (
        f"Proposed as an example of {name}. Moderators see it with {mention(f'prompt examples {name} proposed')}."
    )
    return Card(blocks=(Text(sentence),), data={"text": sentence, **card.state}, answers="private")


async def list_proposals(services: Services, scope: Scope, name: str) -> list[Proposal]:
    """Return the proposals for a template on this server, newest first."""
    return [Proposal(card) for card in await services.store.list_proposals(scope, name)]


async def find_proposals(services: Services, scope: Scope, name: str, text: str) -> list[Proposal]:
    """Return the proposals with the numbers in `text`, at least one. Raises RequestError if one is not there."""
    proposals = {str(proposal.number): proposal for proposal in await list_proposals(services, scope, name)}
    words = list(dict.fromkeys(split_numbers(text))) or [text.strip()]
    for word in words:
        if word not in proposals:
            numbers = mention(f"prompt examples {name[:32]} proposed")
            raise RequestError(f"There is no proposal {quote(word)}. See the numbers with {numbers}.")
    return [proposals[word] for word in words]


def split_numbers(text: str) -> list[str]:
    """Return the words of a list such as 1, 3 or 1 3."""
    return [word for word in _BETWEEN_NUMBERS.split(text.strip()) if word]


async def keep_origins(services: Services, scope: Scope, name: str, proposal: Proposal, *, has_labels: bool) -> None:
    """Store whose message a proposal's words are from, so that erasing the message erases them from the template.

    Labels are nobody's words.
    """
    card, row = proposal.card, proposal.row
    author_id, message_id = card.owner_id, card.source_message_id or card.id
    for message in await services.store.load_messages(card.scope, [message_id]):
        author_id = message.author_id
    await services.store.add_template_origin(scope, name, row.input, message_id=message_id, author_id=author_id)
    if not has_labels:
        await services.store.add_template_origin(
            scope, name, row.output, message_id=message_id, author_id=card.owner_id
        )


def proposals_card(name: str, proposals: Sequence[Proposal]) -> Card:
    """Return the list of the proposals for the template `name`."""
    rows = tuple(
        (str(one.number), one.row.input, one.row.output, one.card.state["by"], f"{one.card.created_at_utc:%Y-%m-%d}")
        for one in proposals[:_NUM_LISTED]
    )
    data = {
        "template": name,
        "num_proposed": len(proposals),
        "examples": [dict(zip(("number", "input", "output", "by", "day"), row, strict=True)) for row in rows],
    }
    if not rows:
        sentence = f"There are no proposed examples for {name} here."
        return Card(blocks=(Text(sentence),), data={"text": sentence, **data}, answers="private")
    blocks: tuple[Block, ...] = (Table(("", "input", "output", "proposed by", "on"), rows),)
    if more := len(proposals) - len(rows):
        blocks = (*blocks, Text(f"There are {more} older ones.", is_quiet=True))
    return Card(blocks=blocks, data=data, answers="private")


COMMANDS: Final = (
    Command(
        name="prompt example",
        needs_model=False,
        summary="Propose a text as an example for a template",
        answer=answer_example,
        text="required",
        text_name="INPUT",
        options=(
            Option("template", "text", "the template that it is an example for"),
            Option("output", "text", "what the template should answer"),
        ),
        answers="form",
        menu="Use as example",
        details="Moderators see it for up to a year. In reply to a template's answer, the text is the right output.",
        details_in_threads="Moderators see it for up to a year. To correct a template's answer, choose Use as example"
        " in the menu of the answer.",
        examples=("prompt example --template sentiment --output Positive What a day!",),
    ),
)
