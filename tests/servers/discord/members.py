"""Actions of a person in Discord: write, edit, delete, use a command, click, choose, fill in a form."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.servers.discord import options, payloads, places
from tests.servers.discord.interactions import (
    AUTOCOMPLETE,
    COMMAND,
    COMPONENT,
    MODAL_SUBMIT,
    InteractionResult,
    Modal,
)
from tests.servers.discord.options import NotOffered
from tests.servers.discord.permissions import Permission
from tests.servers.discord.texts import BUTTON, SELECTS
from tests.servers.discord.world import Attachment, Channel, Event, Message, User

if TYPE_CHECKING:
    from tests.servers.discord.server import Discord

LINK, MOST_MEMBER_CHARACTERS = 5, 2000


@dataclass(frozen=True, slots=True)
class Choice:
    """An autocomplete suggestion."""

    name: str
    value: str | int | float


@dataclass(frozen=True, eq=False)
class Member:
    """A person. An action that the bot must answer within 3 s waits for the answer, and fails with a clear message."""

    discord: "Discord"
    user: User

    @property
    def id(self) -> int:
        return self.user.id

    @property
    def mention(self) -> str:
        return f"<@{self.user.id}>"

    def says(
        self,
        channel: Channel,
        text: str,
        *,
        reply_to: Message | None = None,
        pings: bool = True,
        mention_bot: bool = False,
        files: Iterable[tuple[str, bytes]] = (),
    ) -> Message:
        """Write a message; a reply pings the author of the message replied to, unless `pings` is False."""
        world = self.discord.world
        allowed = world.permissions(self.user, channel)
        needed = Permission.SEND_MESSAGES_IN_THREADS if channel.is_thread else Permission.SEND_MESSAGES
        if not allowed & needed or len(text) > MOST_MEMBER_CHARACTERS:
            raise NotOffered(f"{self.user.name} can't write this in {channel.name}")
        content = f"<@{world.bot.id}> {text}" if mention_bot else text
        if places.slow_mode_wait_s(world, channel, self.user) > 0:
            raise NotOffered(f"{self.user.name} has to wait in {channel.name}: slow mode")
        if channel.is_locked and not allowed & Permission.MANAGE_THREADS:
            raise NotOffered(f"{channel.name} is locked")
        places.note_written(world, channel, self.user)
        message = Message(world.next_id(), channel, self.user, content)
        message.mention_ids = self._mentioned(content)
        if channel.is_thread and world.bot.id in message.mention_ids:
            # A mention adds to a thread, also to a private one.
            places.add_member(world, channel, world.bot)
        message.attachments = [world.add_file(channel, name, data) for name, data in files]
        if reply_to is not None:
            message.type, message.replies_to, message.replies_to_id = 19, reply_to, reply_to.id
            if pings and reply_to.author is not self.user and reply_to.author.id not in message.mention_ids:
                message.mention_ids.append(reply_to.author.id)
        return world.post(message)

    def _mentioned(self, text: str) -> list[int]:
        return [user_id for user_id in self.discord.world.users if f"<@{user_id}>" in text or f"<@!{user_id}>" in text]

    def dm(self, text: str, **more: Any) -> Message:
        """Send the bot a direct message."""
        return self.says(self.discord.world.dm_channel(self.user), text, **more)

    def edits(self, message: Message, text: str) -> None:
        if message.author is not self.user or message.is_deleted:
            raise NotOffered(f"{self.user.name} can't edit this message")
        message.content = text
        replied = [message.replies_to.author.id] if message.replies_to else []
        message.mention_ids = [*self._mentioned(text), *(i for i in replied if i in message.mention_ids)]
        self.discord.world.edited(message)

    def removes_file(self, message: Message, name: str) -> None:
        """Take an attached file out of a message."""
        message.attachments = [one for one in message.attachments if one.filename != name]
        self.edits(message, message.content)

    def deletes(self, *messages: Message) -> None:
        """Delete messages: two or more in one bulk delete, as moderation bots do."""
        world = self.discord.world
        may_delete_all = bool(world.permissions(self.user, messages[0].channel) & Permission.MANAGE_MESSAGES)
        if not may_delete_all and any(message.author is not self.user for message in messages):
            raise NotOffered(f"{self.user.name} can't delete this")
        world.delete(*messages)

    def starts_typing(self, channel: Channel) -> None:
        data: dict[str, Any] = {"channel_id": str(channel.id), "user_id": str(self.id), "timestamp": int(time.time())}
        if channel.guild:
            member = payloads.member_payload(channel.guild.members[self.id])
            data |= {"guild_id": str(channel.guild.id), "member": member}
        self.discord.world.tell(Event("TYPING_START", data, channel, channel.guild))

    def opens_post(self, forum: Channel, title: str, text: str, *, mention_bot: bool = False) -> Message:
        """Open a post in a forum, and return its first message."""
        world = self.discord.world
        if not world.permissions(self.user, forum) & Permission.SEND_MESSAGES:
            raise NotOffered(f"{self.user.name} can't open a post in {forum.name}")
        first = Message(world.next_id(), forum, self.user, f"<@{world.bot.id}> {text}" if mention_bot else text)
        first.mention_ids = self._mentioned(first.content)
        places.open_post(world, forum, title, first)
        return first

    def opens_private_thread(self, channel: Channel, name: str) -> Channel:
        return self.discord.world.add_thread(channel, name, self.user, is_private=True)

    def opens_thread(self, message: Message, name: str) -> Channel:
        return self.discord.world.add_thread(message.channel, name, self.user, message)

    # Interactions

    async def slash(self, channel: Channel, command: str, /, **values: Any) -> InteractionResult:
        """Use a slash command such as "complete" or "prompt run"; an attachment is (name, bytes), a user a Member."""
        name, *path = command.split()
        found = options.find_command(self.discord.world, self.user, channel, name, options.CHAT_INPUT)
        values = {key: value.user if isinstance(value, Member) else value for key, value in values.items()}
        data = options.command_data(found, path, values, None, self._adder(channel))
        return await self._does(COMMAND, channel, data).acknowledged()

    async def types(self, channel: Channel, command: str, option: str, text: str, /, **values: Any) -> list[Choice]:
        """Return the suggestions for `text` in the field `option`."""
        name, *path = command.split()
        found = options.find_command(self.discord.world, self.user, channel, name, options.CHAT_INPUT)
        data = options.command_data(found, path, values | {option: text}, option, self._adder(channel))
        result = await self._does(AUTOCOMPLETE, channel, data).acknowledged()
        return [Choice(choice["name"], choice["value"]) for choice in result.choices]

    async def uses_menu(self, name: str, message: Message) -> InteractionResult:
        """Choose an entry of the menu on a message."""
        world = self.discord.world
        self._needs_to_see(message)
        command = options.find_command(world, self.user, message.channel, name, options.MESSAGE_MENU)
        data = {
            "id": command["id"],
            "name": name,
            "type": options.MESSAGE_MENU,
            "target_id": str(message.id),
            "resolved": {"messages": {str(message.id): payloads.message_payload(message, world)}},
        }
        return await self._does(COMMAND, message.channel, data).acknowledged()

    async def clicks(self, message: Message, button: str) -> InteractionResult:
        """Press the button with that label, emoji or custom_id."""
        self._needs_to_see(message)
        part = options.find_component(message.components, button, (BUTTON,))
        if part["style"] == LINK:
            raise NotOffered(f"{button!r} is a link")
        data = {"custom_id": part["custom_id"], "component_type": BUTTON, "id": part["id"]}
        return await self._does(COMPONENT, message.channel, data, message).acknowledged()

    async def selects(self, message: Message, select: str, values: str | list[str]) -> InteractionResult:
        """Choose options, by label or value, in the select with that placeholder or custom_id."""
        self._needs_to_see(message)
        part = options.find_component(message.components, select, SELECTS)
        chosen = options.chosen_values(part, select, [values] if isinstance(values, str) else values)
        data = {"custom_id": part["custom_id"], "component_type": part["type"], "id": part["id"], "values": chosen}
        return await self._does(COMPONENT, message.channel, data, message).acknowledged()

    async def submits(self, modal: Modal | None, values: dict[str, Any]) -> InteractionResult:
        """Fill in a form by label or custom_id and send it off."""
        if modal is None:
            raise NotOffered("no form was opened")
        opened_by = modal.opened_by
        if opened_by.user is not self.user:
            raise NotOffered(f"the form was opened for {opened_by.user.name}")
        data = options.form_data(modal.payload, values, self._adder(opened_by.channel))
        return await self._does(MODAL_SUBMIT, opened_by.channel, data, opened_by.source).acknowledged()

    def _adder(self, channel: Channel) -> options.AddFile:
        def add(name: str, data: bytes) -> Attachment:
            return self.discord.world.add_file(channel, name, data)

        return add

    def _needs_to_see(self, message: Message) -> None:
        if not self.discord.world.can_see(self.user, message):
            raise NotOffered(f"{self.user.name} does not see this message")

    def _does(
        self, kind: int, channel: Channel, data: dict[str, Any], source: Message | None = None
    ) -> InteractionResult:
        """Send an interaction to the bot."""
        world = self.discord.world
        result = self.discord.interactions.create(kind, self.user, channel, source)
        owners = options.installs(world, self.user, channel)
        result.is_user_install = "0" not in owners
        payload: dict[str, Any] = {
            "id": str(result.id),
            "application_id": str(world.bot.id),
            "type": kind,
            "token": result.token,
            "version": 1,
            "data": data,
            "channel_id": str(channel.id),
            "channel": payloads.interaction_channel_payload(channel, self.user, world),
            "app_permissions": str(self.discord.app_permissions(channel)),
            "locale": self.user.locale,
            "entitlements": [],
            "entitlement_sku_ids": [],
            "authorizing_integration_owners": owners,
            "context": options.context_of(channel, world.bot),
            "attachment_size_limit": 10 * 1024 * 1024,
        }
        if channel.guild:
            payload["guild_id"] = str(channel.guild.id)
            payload["guild"] = {"id": str(channel.guild.id), "locale": "en-US", "features": []}
            payload["guild_locale"] = "en-US"
            payload["member"] = payloads.interaction_member_payload(self.user, channel, world)
        else:
            payload["user"] = payloads.user_payload(self.user)
        if source is not None:
            payload["message"] = payloads.message_payload(source, world)
        world.tell(Event("INTERACTION_CREATE", payload, channel, channel.guild))
        return result
