"""Examples for templates that members propose, and the list of them for moderators."""

from datetime import timedelta
from typing import Final

from bot.commands.declaring import Cards, Command, Option, Request
from bot.commands.services import Services
from bot.core.cards import Card, Form, FormField, SelectOption, Table, Text
from bot.core.messages import Author, FormSubmitted, Scope
from bot.core.safe_text import clean_name, replace_lone_surrogates
from bot.core.template import PromptTemplate
from bot.errors import RequestError
from bot.open_cards import open_card
from bot.store.cards import OpenCard

EXAMPLE_FORM: Final = "example_form"
PROPOSAL_CARD: Final = "example_proposal"
MAX_CHARACTERS: Final = 4000
_FORM_LIFETIME: Final = timedelta(days=1)
_PROPOSAL_LIFETIME: Final = timedelta(days=365)
_NUM_LISTED: Final = 25
_MAX_CHOICES: Final = 25


async def answer_example(request: Request) -> Cards:
    """Propose the text as an example's input: at once where all is said, else with a form."""
    services, message = request.services, request.message
    if not request.is_kept:
        raise RequestError("You asked not to be read, so nothing of yours can be proposed.")
    template, output = request.options.get("template", ""), request.options.get("output", "")
    if template and output:
        yield await _propose(
            services, message.scope, message.author, (template, request.text, output), request.source.message_id
        )
        return
    if not request.has_buttons:
        raise RequestError("Say which template and what it should answer: --template NAME --output TEXT.")
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
        source_message_id=request.source.message_id,
        lives=_FORM_LIFETIME,
    )
    options = tuple(SelectOption(name, name, is_chosen=name == template) for name in names[:_MAX_CHOICES])
    yield Card(
        form=Form(
            card.id,
            "Use as example",
            (
                FormField("template", "Template", "choice", options=options),
                FormField("input", "Input", "paragraph", value=request.text[:MAX_CHARACTERS]),
                FormField("output", "What it should answer", "paragraph", value=output),
            ),
        ),
        answers="private",
    )


async def submit_example(services: Services, submitted: FormSubmitted, card: OpenCard) -> Cards:
    """Keep what was filled in as a proposal."""
    if card.owner_id != submitted.author.id:
        raise RequestError("That form is somebody else's; ask for your own with prompt example.")
    values = submitted.values
    example = (values.get("template", ""), values.get("input", ""), values.get("output", ""))
    yield await _propose(services, submitted.scope, submitted.author, example, card.source_message_id)


async def _checked_template(services: Services, scope: Scope, name: str) -> PromptTemplate:
    template = await services.templates.get(scope, name)
    if template.kind == "chat":
        raise RequestError(f"The template {name} is for chat; examples are proposed for templates that take an input.")
    return template


async def _propose(
    services: Services, scope: Scope, author: Author, example: tuple[str, str, str], source_id: str | None
) -> Card:
    name, input, output = (replace_lone_surrogates(value).strip() for value in example)
    template = await _checked_template(services, scope, name)
    for what, value in (("input", input), ("output", output)):
        if not 1 <= len(value) <= MAX_CHARACTERS:
            raise RequestError(f"The {what} takes 1 to {MAX_CHARACTERS:,} characters, not {len(value):,}.")
    if template.labels:
        labels = {label.casefold(): label for label in template.labels}
        if output.casefold() not in labels:
            raise RequestError(f"{name} answers with one of {', '.join(template.labels)}.")
        output = labels[output.casefold()]
    state = {"template": name, "input": input, "output": output, "by": clean_name(author.name)}
    await open_card(
        services.store,
        scope,
        author.id,
        PROPOSAL_CARD,
        state,
        source_message_id=source_id,
        lives=_PROPOSAL_LIFETIME,
    )
    sentence = f"Proposed as an example of {name}; the moderators can see it with prompt examples {name}."
    return Card(blocks=(Text(sentence),), data={"text": sentence, **state}, answers="private")


async def answer_examples(request: Request) -> Cards:
    """List what was proposed for a template on this server, newest first."""
    name = (await _checked_template(request.services, request.message.scope, request.arguments["NAME"])).name
    cards = await request.services.store.list_open_cards(request.message.scope, PROPOSAL_CARD, limit=1000)
    proposed = [card for card in cards if card.state["template"] == name]
    rows = tuple(
        (
            card.state["input"],
            card.state["output"],
            card.state["by"],
            f"{card.created_at_utc:%Y-%m-%d}",
        )
        for card in proposed[:_NUM_LISTED]
    )
    data = {
        "template": name,
        "num_proposed": len(proposed),
        "examples": [dict(zip(("input", "output", "by", "day"), row, strict=True)) for row in rows],
    }
    if not rows:
        sentence = f"No example has been proposed for {name} here."
        yield Card(blocks=(Text(sentence),), data={"text": sentence, **data}, answers="private")
        return
    blocks = (Table(("input", "output", "proposed by", "on"), rows),)
    more = len(proposed) - len(rows)
    yield Card(
        blocks=(*blocks, Text(f"and {more} older ones", is_quiet=True)) if more else blocks,
        data=data,
        answers="private",
    )


COMMANDS: Final = (
    Command(
        name="prompt example",
        summary="proposes a text as an example for a template; moderators see it for up to a year",
        answer=answer_example,
        text="required",
        text_name="INPUT",
        options=(
            Option("template", "text", "the template that it is an example for"),
            Option("output", "text", "what the template should answer"),
        ),
        answers="form",
        menu="Use as example",
        examples=("prompt example --template sentiment --output Positive What a day!",),
    ),
    Command(
        name="prompt examples",
        summary="the examples proposed for a template: which, by whom, when",
        answer=answer_examples,
        arguments=("NAME",),
        who="moderators",
        answers="private",
        examples=("prompt examples sentiment",),
    ),
)
