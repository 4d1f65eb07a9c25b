"""Buttons and selects that work after a restart: their custom_id names the card, and the card is in the store."""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar, cast

import discord

from bot.core.cards import Button, Select
from bot.core.messages import ShownCard
from bot.platforms.discord.traits import MAX_OPTIONS

if TYPE_CHECKING:
    _ClientT = TypeVar("_ClientT", bound=discord.Client)

MAX_CUSTOM_ID: Final = 100
MAX_LABEL: Final = 80
MAX_OPTION_TEXT: Final = 100
MAX_PLACEHOLDER: Final = 150
STOP_ID_PREFIX: Final = "fewshot-stop:"
_CARD_ID: Final = r"fewshot:(?P<card_id>[^:]+):(?P<revision>\d{1,9}):(?P<action>.+)"
_OF_A_CARD: Final = re.compile("fewshot(?:-select)?:" + _CARD_ID.removeprefix("fewshot:"))
_STYLES: Final = {
    "plain": discord.ButtonStyle.secondary,
    "primary": discord.ButtonStyle.primary,
    "danger": discord.ButtonStyle.danger,
}


class Clickable(Protocol):
    """The callbacks of buttons and selects."""

    async def clicked(
        self, interaction: "discord.Interaction[Any]", card_id: str, revision: int, action: str, value: str
    ) -> None:
        """Handle the button or select `action` of the card; `value` is the chosen option."""

    async def stop_clicked(self, interaction: "discord.Interaction[Any]", message_id: str) -> None:
        """Stop the answer to the message `message_id`."""


class HasInteractions(Protocol):
    """The client: the only object through which a discord.py button can reach the bot."""

    @property
    def interactions(self) -> Clickable:
        """Return the handler of clicks."""


def shown_card(components: Iterable[discord.Component]) -> ShownCard | None:
    """Return the card whose buttons or selects are among `components` of a message, None if there are none."""
    for custom_id in _custom_ids([component.to_dict() for component in components]):
        if found := _OF_A_CARD.match(custom_id):
            return ShownCard(found["card_id"], int(found["revision"]))
    return None


def _custom_ids(part: object) -> Iterator[str]:
    """Yield each custom_id in the payload `part`: texts of people in it don't count."""
    if isinstance(part, dict):
        if isinstance(custom_id := part.get("custom_id"), str):
            yield custom_id
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from _custom_ids(one)


def clip_label(text: str, limit: int) -> str:
    """Return `text` on one line, cut with an ellipsis if it is longer than `limit`."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _custom_id(card_id: str, revision: int, action: str, *, kind: str = "fewshot") -> str:
    custom_id = f"{kind}:{card_id}:{revision}:{action}"
    if len(custom_id) > MAX_CUSTOM_ID:
        raise ValueError(f"a custom_id of {len(custom_id)} characters does not fit: {action}")
    return custom_id


def _interactions(interaction: "discord.Interaction[Any]") -> Clickable:
    return cast(HasInteractions, interaction.client).interactions


class CardButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=re.compile(_CARD_ID)):
    """A button of a card."""

    def __init__(self, item: "discord.ui.Button[Any]", card_id: str, revision: int, action: str) -> None:
        super().__init__(item)
        self._card_id = card_id
        self._revision = revision
        self._action = action

    @classmethod
    def of(cls, button: Button, card_id: str, revision: int) -> Self:
        """Return the button as Discord shows it; a number is highlighted."""
        style = "primary" if button.style == "plain" and button.label.isdigit() else button.style
        label = button.label[:1].upper() + button.label[1:]
        item: discord.ui.Button[Any] = discord.ui.Button(
            label=clip_label(label, MAX_LABEL),
            style=_STYLES[style],
            custom_id=_custom_id(card_id, revision, button.action),
        )
        return cls(item, card_id, revision, button.action)

    @classmethod
    async def from_custom_id(
        cls, interaction: "discord.Interaction[_ClientT]", item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Return the button that was pressed."""
        button = cast("discord.ui.Button[Any]", item)
        return cls(button, match["card_id"], int(match["revision"]), match["action"])

    async def callback(self, interaction: "discord.Interaction[Any]") -> None:
        """Act on the click."""
        await _interactions(interaction).clicked(interaction, self._card_id, self._revision, self._action, "")


class CardSelect(
    discord.ui.DynamicItem[discord.ui.Select[Any]],
    # Needs a pattern of its own: discord.py keeps one class for each pattern, whatever the kind of item.
    template=re.compile("fewshot-select:" + _CARD_ID.removeprefix("fewshot:")),
):
    """A select of a card, for one of its options."""

    def __init__(self, item: "discord.ui.Select[Any]", card_id: str, revision: int, action: str) -> None:
        super().__init__(item)
        self._card_id = card_id
        self._revision = revision
        self._action = action

    @classmethod
    def of(cls, select: Select, card_id: str, revision: int) -> Self:
        """Return the select as Discord shows it."""
        options = [
            discord.SelectOption(
                label=clip_label(option.label, MAX_OPTION_TEXT),
                value=option.value,
                description=clip_label(option.help, MAX_OPTION_TEXT) or None,
                default=option.is_chosen,
            )
            for option in select.options[:MAX_OPTIONS]
        ]
        item: discord.ui.Select[Any] = discord.ui.Select(
            placeholder=clip_label(select.label, MAX_PLACEHOLDER),
            options=options,
            custom_id=_custom_id(card_id, revision, select.action, kind="fewshot-select"),
        )
        return cls(item, card_id, revision, select.action)

    @classmethod
    async def from_custom_id(
        cls, interaction: "discord.Interaction[_ClientT]", item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Return the select that was used."""
        select = cast("discord.ui.Select[Any]", item)
        return cls(select, match["card_id"], int(match["revision"]), match["action"])

    async def callback(self, interaction: "discord.Interaction[Any]") -> None:
        """Handle the choice."""
        value = self.item.values[0] if self.item.values else ""
        await _interactions(interaction).clicked(interaction, self._card_id, self._revision, self._action, value)


class StopButton(
    discord.ui.DynamicItem[discord.ui.Button[Any]], template=re.compile(rf"{STOP_ID_PREFIX}(?P<message_id>.+)")
):
    """The button that stops an answer while it is written."""

    def __init__(self, item: "discord.ui.Button[Any]", message_id: str) -> None:
        super().__init__(item)
        self._message_id = message_id

    @classmethod
    def of(cls, message_id: str) -> Self:
        """Return the button for the answer to the message `message_id`."""
        item: discord.ui.Button[Any] = discord.ui.Button(label="Stop", custom_id=f"{STOP_ID_PREFIX}{message_id}")
        return cls(item, message_id)

    @classmethod
    async def from_custom_id(
        cls, interaction: "discord.Interaction[_ClientT]", item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Return the button that was pressed."""
        return cls(cast("discord.ui.Button[Any]", item), match["message_id"])

    async def callback(self, interaction: "discord.Interaction[Any]") -> None:
        """Act on the click."""
        await _interactions(interaction).stop_clicked(interaction, self._message_id)
