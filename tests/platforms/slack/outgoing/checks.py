"""What Slack, and this project, ask of every rendered card."""

import re
from typing import Any

from bot.platforms.slack.outgoing.rendering import Rendering
from tests.servers.slack.checking import message_error, message_findings, pings, texts_of

Json = dict[str, Any]
_LINK = re.compile(
    r"\]\(|\]\[|\]:|\w+://|\b(?:mailto|tel|slack):|\w@\w|(?<!\w)<[^>]*>|(?:^|\n)#|\b[\w-]+\.(?:com|example|org|md)\b",
    re.IGNORECASE,
)


def blocks_of(rendering: Rendering) -> list[Json]:
    return rendering.blocks_with([f"F{number}" for number in range(len(rendering.pictures))])


def assert_fits(rendering: Rendering) -> None:
    """Check Slack's limits of posted and of updated messages, and that nobody is pinged."""
    blocks = blocks_of(rendering)
    assert list(message_findings(blocks, lambda _: None)) == []
    arguments = {"text": rendering.text, "blocks": blocks}
    assert message_error(arguments, is_update=True) is None
    assert pings(arguments, "UBOT") == []
    for text in markdown(rendering):
        assert text.count("```") % 2 == 0
        assert not _LINK.search(without_code(text)), text
    for text in [rendering.text, *texts_of(blocks)]:
        text.encode()


def markdown(rendering: Rendering) -> list[str]:
    return [str(block["text"]) for block in rendering.blocks if block["type"] == "markdown"]


def without_code(text: str) -> str:
    """Return Slack's Markdown without its code blocks, in which nothing is a link."""
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def shown(rendering: Rendering) -> str:
    """Return the words that a person reads in the message."""
    return "\n".join(texts_of(list(rendering.blocks)))


def labels(rendering: Rendering) -> list[list[str]]:
    """Return the labels of the buttons and selects in each row."""
    return [
        [(element.get("placeholder") or element["text"])["text"] for element in block["elements"]]
        for block in rendering.blocks
        if block["type"] == "actions"
    ]
