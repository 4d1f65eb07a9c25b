"""A text client for the stand-in: a typed line is what a person does on Discord, and what changes there is printed."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.dev.showing import controls_of, show_message
from tests.dev.typed import parse_slash
from tests.servers.discord import Discord
from tests.servers.discord.interactions import InteractionResult, Modal
from tests.servers.discord.options import CHAT_INPUT, LABEL, MESSAGE_MENU, UPLOAD, NotOffered
from tests.servers.discord.permissions import Permission
from tests.servers.discord.world import DM, Guild, Message

HELP = """\
hello @bot           a message that mentions the bot; without @bot the bot does not answer in a channel
!perplexity A text   a command as a message
/next Once upon a    a slash command; options by name: /complete text:Once upon a n:2; a single / lists them all
:1                   press button 1 of the newest message that has buttons; in a select: :1 choice
:reply TEXT          reply to the bot's newest message
:edit TEXT, :delete  change or delete your newest message
:menu Why            an entry of the message menu, on the bot's newest message; a single :menu lists the entries
:in NAME             go to another channel; :in dm is the direct messages with the bot
:cancel              close the form that is being filled in
:as moderator        go on as a moderator; :as member goes back
:help, :quit"""
_REPLY_S = 120.0
# How long a message that may be for nobody waits for an answer.
_MAYBE_S = 3.0
_LOOK_S = 0.1


class TextClient:
    """One person at a terminal who is on the stand-in. `say` prints; `show` looks for changes and prints them."""

    def __init__(self, discord: Discord, guild: Guild, say: Callable[[str], None]) -> None:
        self._discord = discord
        self._world = discord.world
        self._guild = guild
        self._say = say
        self._people = {
            "member": discord.add_member(guild, "Ada"),
            "moderator": discord.add_member(guild, "Moe", permissions=Permission.MANAGE_GUILD),
        }
        self._me = self._people["member"]
        self._channel = guild.channels[0]
        self._form: _Form | None = None
        self._shown: dict[int, str] = {}
        self._said: Message | None = None
        self._result: InteractionResult | None = None

    @property
    def prompt(self) -> str:
        """Return what stands before the line that is typed: who, where, or the field of a form."""
        if self._form is not None:
            return f"{self._form.label}: "
        place = "direct message" if self._channel.kind == DM else f"#{self._channel.name}"
        return f"{self._me.user.name} in {place}> "

    def show(self) -> None:
        """Print every message here that is new or changed."""
        for message in list(self._world.messages.values()):
            is_own = message.author is self._me.user
            if message.channel is not self._channel or is_own or message.ephemeral_for not in (None, self._me.user):
                continue
            text = show_message(message, self._world, self._me.user)
            if self._shown.get(message.id) != text:
                self._shown[message.id] = text
                self._say(text)

    async def watch(self) -> None:
        """Print changes until this is cancelled."""
        while True:
            self.show()
            await asyncio.sleep(_LOOK_S)

    async def type(self, line: str) -> None:
        """Do what the line says; what Discord's own client would not allow is printed as one sentence."""
        self._said = self._result = None
        try:
            if self._form is not None:
                await self._fill_in(line)
            elif line.startswith(":"):
                word, _, rest = line[1:].strip().partition(" ")
                await self._act(word, rest.strip())
            elif line.startswith("/"):
                await self._slash(line[1:])
            elif line.strip():
                self._said = self._me.says(self._channel, self._with_mention(line))
        except (AssertionError, LookupError, OSError) as e:
            self._say(f"! {e}")
        if self._result is not None and self._result.modal is not None:
            self._form = _Form(self._result.modal)
            title = self._result.modal.title
            self._say(f"Form: {title}. An empty line keeps what is there, \\n is a new line, :cancel closes the form.")

    async def settled(self) -> None:
        """Wait until what the last line led to is finished, and print it."""
        try:
            if self._result is not None and self._result.modal is None:
                await self._result.finished(_REPLY_S)
            elif self._said is not None:
                text = self._said.content
                is_for_bot = self._world.bot.id in self._said.mention_ids or self._channel.kind == DM
                await self._discord.reply(self._said, _REPLY_S if is_for_bot or text.startswith("!") else _MAYBE_S)
        except AssertionError as e:
            if self._result is not None:
                self._say(f"! {e}")
        self.show()

    def _with_mention(self, text: str) -> str:
        return text.replace("@bot", f"<@{self._world.bot.id}>").replace(
            f"@{self._world.bot.name}", f"<@{self._world.bot.id}>"
        )

    async def _act(self, word: str, rest: str) -> None:
        """Do what stands after a colon."""
        if word.isdigit():
            await self._press(int(word), rest)
        elif word == "reply":
            self._said = self._me.says(self._channel, rest, reply_to=self._newest(self._world.bot))
        elif word == "edit":
            self._me.edits(self._newest(self._me.user), self._with_mention(rest))
        elif word == "delete":
            self._me.deletes(self._newest(self._me.user))
        elif word == "menu" and rest:
            self._result = await self._me.uses_menu(rest, self._newest(self._world.bot))
        elif word == "menu":
            self._say(", ".join(command["name"] for command in self._commands(MESSAGE_MENU)))
        elif word == "in":
            is_dm = rest == "dm"
            self._channel = self._world.dm_channel(self._me.user) if is_dm else self._guild.channel(rest.lstrip("#"))
        elif word == "as" and rest in self._people:
            self._me = self._people[rest]
            if self._channel.kind == DM:
                self._channel = self._world.dm_channel(self._me.user)
        else:
            self._say(HELP)

    async def _press(self, number: int, choice: str) -> None:
        messages = [m for m in self._world.messages.values() if m.channel is self._channel and not m.is_deleted]
        seen = [message for message in messages if self._world.can_see(self._me.user, message)]
        message = next((message for message in reversed(seen) if controls_of(message)), None)
        controls = controls_of(message) if message else ()
        if message is None or not 1 <= number <= len(controls):
            raise NotOffered(f"There is no button {number} here.")
        control = controls[number - 1]
        if control.is_select:
            self._result = await self._me.selects(message, control.custom_id, choice)
        else:
            self._result = await self._me.clicks(message, control.custom_id)

    async def _slash(self, line: str) -> None:
        commands = self._commands(CHAT_INPUT)
        if not line.strip():
            self._say("\n".join(f"/{command['name']:12} {command['description']}" for command in commands))
            return
        slash = parse_slash(line, commands)
        self._result = await self._me.slash(self._channel, slash.name, **slash.values)

    def _commands(self, kind: int) -> Sequence[dict[str, Any]]:
        return [command for command in self._world.commands[None] if command["type"] == kind]

    def _newest(self, author: Any) -> Message:
        for message in reversed(self._channel.messages):
            if message.author is author and self._world.can_see(self._me.user, message):
                return message
        raise NotOffered(f"There is no message of {author.name} here.")

    async def _fill_in(self, line: str) -> None:
        form = self._form
        assert form is not None
        if line.strip() == ":cancel":
            self._form = None
            self._say("The form is closed; nothing was sent.")
            return
        try:
            form.take(line)
        except OSError as e:
            self._say(f"! That file can't be read ({e.strerror}). Give another path; :cancel closes the form.")
        if not form.is_full:
            return
        self._form = None
        try:
            self._result = await self._me.submits(form.modal, form.values)
        except NotOffered as e:
            # Discord's own client leaves such a form open too.
            self._form = _Form(form.modal)
            self._say(f"! {e} The form is open again, from its first field; :cancel closes it.")


class _Form:
    """A form that is being filled in, a field a line."""

    def __init__(self, modal: Modal) -> None:
        self.modal = modal
        self.values: dict[str, Any] = {}
        self._fields: list[tuple[str, dict[str, Any]]] = []
        for top in modal.payload["components"]:
            if top["type"] == LABEL:
                self._fields.append((top["label"], top["component"]))
            else:
                self._fields += [(part.get("label", ""), part) for part in top.get("components", ())]

    @property
    def is_full(self) -> bool:
        """Return whether every field was asked for."""
        return not self._fields

    @property
    def label(self) -> str:
        """Return the name of the next field with what stands in it."""
        label, part = self._fields[0]
        choices = " | ".join(option["label"] for option in part.get("options", ()))
        note = part.get("value") or choices or ("path of a file" if part["type"] == UPLOAD else "")
        return f"{label} [{note}]".replace("\n", "\\n") if note else label

    def take(self, line: str) -> None:
        """Fill in the next field; an empty line leaves it as it is."""
        label, part = self._fields[0]
        if part["type"] == UPLOAD and line.strip():
            path = Path(line.strip()).expanduser()
            self.values[label] = (path.name, path.read_bytes())
        elif line.strip():
            self.values[label] = line.replace("\\n", "\n")
        self._fields.pop(0)
