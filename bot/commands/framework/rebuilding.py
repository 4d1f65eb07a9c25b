"""What a stored answer was made from, rebuilt from what is stored now, and what has changed since."""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.commands.context import Services
from bot.commands.framework.command import Command
from bot.commands.framework.request import asked_text
from bot.commands.framework.told import words_of_part
from bot.core.history import Turn, merge_turns
from bot.core.prompt import build_prompt
from bot.core.prompt_parts import Prompt
from bot.core.story import join_parts
from bot.core.templates.parsing import parse_template
from bot.core.templates.template import PromptTemplate
from bot.services.replies import prompt_sha256
from bot.store.replies import StoredReply


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A rebuilt prompt, its template, and the turns of a conversation or the `input` of a template.

    `prompt` is None if its words are gone.
    """

    prompt: Prompt | None
    template: PromptTemplate | None = None
    turns: tuple[Turn, ...] = ()
    input: str = ""


_GONE = Rebuilt(None)


async def rebuild(services: Services, commands: Mapping[str, Command], reply: StoredReply) -> Rebuilt:
    """Return the prompt of a stored answer, rebuilt from what is stored now."""
    provenance = reply.provenance
    inputs = provenance.prompt_inputs
    messages = [back.message for back in reply.read if back.message is not None]
    if not messages:
        return _GONE
    if inputs["mode"] == "story":
        return Rebuilt(await _rebuild_story(services, commands, reply))
    stored = provenance.template
    template = None
    if stored:
        template = parse_template(stored.source_text, name=stored.name, source=f"{stored.name} {stored.version}")
    if inputs["mode"] in ("transcript", "markup") and template:
        num_pictures = inputs.get("num_pictures", 0)
        turns = merge_turns(await services.chat.with_pictures(reply.message.scope, messages, num_pictures))
        if not turns:
            return _GONE
        prompt = await services.chat.render(
            template,
            turns,
            is_markup=inputs["mode"] == "markup",
            bot_name=inputs["bot_name"],
            said=reply.message.text[: inputs.get("num_said", 0)],
        )
        return Rebuilt(prompt, template, tuple(turns))
    asked = asked_text(
        messages[0],
        is_command_line=inputs["is_command_line"],
        prefix=services.command_prefix,
        commands=commands,
    )
    if asked is None:
        return _GONE
    text, _ = asked
    prompt = build_prompt(template, text) if template else Prompt.document(text + inputs["suffix"])
    return Rebuilt(prompt, template, input=text)


async def _rebuild_story(services: Services, commands: Mapping[str, Command], reply: StoredReply) -> Prompt | None:
    """Return the prompt of continuations of a story; None if words of the bot in it are gone."""
    inputs = reply.provenance.prompt_inputs
    parts = await services.store.load_story_parts(reply.message.scope, tuple(inputs["parts"]))
    if len(parts) < len(inputs["parts"]):
        return None
    words = [words_of_part(services, commands, inputs["begun_by"], part) for part in parts]
    return Prompt.document(join_parts([one for one in words if one is not None])[inputs["start"] :])


def changed(num: int, how: str) -> str:
    """Return the sentence that `num` messages that the model read were, for example, edited later (`how`)."""
    were = "message that the model read was" if num == 1 else "messages that the model read were"
    return f"{num} {were} {how}."


def changes_since(reply: StoredReply, prompt: Prompt | None) -> list[str]:
    """Return one sentence for each change since the model read the prompt."""
    sentences = []
    for change, consequence in (("edited", ""), ("deleted", ", so the text is missing here")):
        num = sum(back.change == change for back in reply.read)
        if num:
            sentences.append(changed(num, f"{change} later{consequence}"))
    digest = reply.provenance.prompt_sha256
    if prompt and not sentences and digest is not None and prompt_sha256(prompt) != digest:
        sentences.append("Prompts are built differently now, so this may differ slightly from what the model read.")
    return sentences


async def why_not_same(
    services: Services, reply: StoredReply, rebuilt: Rebuilt, *, in_same_precision: bool = True
) -> str | None:
    """Return the reason why the model can't read the prompt of a drawn answer again as it was, None if it can."""
    provenance, info = reply.provenance, services.engine.info
    if provenance.sampling is None:
        return "Nothing was drawn for it: a label is computed. Give the command again to compute it again."
    if provenance.model_name != info.name:
        return f"It was written by {provenance.model_name}, and the model here is {info.name} now."
    if provenance.sampling.is_sampled and not info.keeps_seed:
        return "This model's server keeps no seed: it would draw another text."
    if in_same_precision and provenance.precision != info.precision:
        return f"It was written in {provenance.precision}, and the model runs in {info.precision} now."
    ids = list(dict.fromkeys(back.message_id for back in reply.read if back.message is not None))
    scope = reply.message.scope
    if len(await services.store.load_messages(scope, ids, leaves_out_opted_out=True)) < len(ids):
        return "Somebody whose words it read has asked not to be read."
    if rebuilt.prompt is None:
        return "The messages that its prompt was built from were deleted."
    if changes := changes_since(reply, rebuilt.prompt):
        return " ".join(changes)
    if provenance.prompt_sha256 is None:
        return "Words in its prompt were erased, so it can't be checked that the prompt is the same."
    return None
