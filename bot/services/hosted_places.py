"""Servers, channels and people of a platform that this program hosts: made, renamed, removed, kept in the store."""

import unicodedata
from dataclasses import replace
from typing import Final

from bot.core.messages import DIRECT_MESSAGES, Author, Scope
from bot.core.safe_text import one_line
from bot.errors import RequestError
from bot.services.hosted_messages import Clock
from bot.store.hosted_places import HostedChannel, HostedPerson, HostedServer
from bot.store.store import Store

__all__ = ["HostedChannel", "HostedPerson", "HostedServer", "Places", "direct_channel_of"]

_MAX_NAME: Final = 64
_MAX_OF_A_KIND: Final = 200
_FIRST_SERVER: Final = "Home"
_FIRST_CHANNEL: Final = "general"


class Places:
    """What there is, read once and changed with the store. Every change may raise Unavailable."""

    def __init__(self, store: Store, platform: str, clock: Clock, *, first_name: str) -> None:
        self._store = store
        self._platform = platform
        self._clock = clock
        self._first_name = first_name
        self.servers: tuple[HostedServer, ...] = ()
        self.people: dict[str, HostedPerson] = {}

    async def open(self) -> None:
        """Read all places and people; on the first start there is one server with one channel, and one person."""
        self.servers = await self._store.hosted_servers(self._platform)
        self.people = {one.id: one for one in await self._store.hosted_people(self._platform)}
        if not self.people:
            await self.add_person(self._first_name, is_moderator=True)
            if not self.servers:
                await self.add_channel(await self.add_server(_FIRST_SERVER), _FIRST_CHANNEL)

    @property
    def first_person(self) -> HostedPerson:
        """Return the person as whom a new window speaks."""
        return next(iter(self.people.values()))

    def scope_of(self, person: HostedPerson, channel: str, thread: str = "") -> Scope:
        """Return where a person is. Raises RequestError if that channel is not there, or not theirs."""
        if channel == direct_channel_of(person):
            return Scope(self._platform, DIRECT_MESSAGES, channel, thread, "direct")
        for server in self.servers:
            if any(one.id == channel for one in server.channels):
                return Scope(self._platform, server.id, channel, thread)
        raise RequestError("That channel is not there any more.")

    def name_of_channel(self, scope: Scope, channel_id: str) -> str | None:
        """Return the name of a channel in the same server, None if there is none."""
        channels = [one for server in self.servers if server.id == scope.server for one in server.channels]
        return next((one.name for one in channels if one.id == channel_id), None)

    def author(self, person: HostedPerson) -> Author:
        """Return a person as the author of a message."""
        return Author(person.id, person.name, is_moderator=person.is_moderator)

    async def add_server(self, name: str) -> str:
        """Make a server and return its id. Raises RequestError for a name that is none."""
        name = _checked(name, "server")
        _check_room(len(self.servers), "servers")
        server = HostedServer(str(self._clock.next()), name)
        await self._store.save_hosted_server(self._platform, server.id, name)
        self.servers = (*self.servers, server)
        return server.id

    async def add_channel(self, server_id: str, name: str) -> str:
        """Make a channel and return its id. Raises RequestError for a name that is none or taken."""
        server, name = self._server(server_id), _checked(name, "channel")
        _check_room(len(server.channels), "channels")
        _check_free(name, server)
        channel = HostedChannel(str(self._clock.next()), name)
        await self._store.save_hosted_channel(server_id, channel.id, name)
        self._put(replace(self._server(server_id), channels=(*self._server(server_id).channels, channel)))
        return channel.id

    async def rename_server(self, server_id: str, name: str) -> None:
        """Give a server another name."""
        name = _checked(name, "server")
        self._server(server_id)
        await self._store.save_hosted_server(self._platform, server_id, name)
        self._put(replace(self._server(server_id), name=name))

    async def rename_channel(self, channel_id: str, name: str) -> None:
        """Give a channel another name."""
        name, server = _checked(name, "channel"), self._server_of(channel_id)
        _check_free(name, replace(server, channels=tuple(one for one in server.channels if one.id != channel_id)))
        await self._store.save_hosted_channel(server.id, channel_id, name)
        server = self._server_of(channel_id)
        renamed = (HostedChannel(one.id, name) if one.id == channel_id else one for one in server.channels)
        self._put(replace(server, channels=tuple(renamed)))

    async def remove_server(self, server_id: str) -> None:
        """Remove a server; what was said there is erased elsewhere."""
        self._server(server_id)
        await self._store.remove_hosted_server(server_id)
        self.servers = tuple(one for one in self.servers if one.id != server_id)

    async def remove_channel(self, channel_id: str) -> Scope:
        """Remove a channel and return where it was; what was said there is erased elsewhere."""
        server = self._server_of(channel_id)
        await self._store.remove_hosted_channel(channel_id)
        server = self._server(server.id)
        self._put(replace(server, channels=tuple(one for one in server.channels if one.id != channel_id)))
        return Scope(self._platform, server.id, channel_id)

    async def add_person(self, name: str, *, is_moderator: bool) -> str:
        """Add somebody who may speak and return their id. Raises RequestError for a name that is none or taken."""
        name = _checked(name, "person")
        _check_room(len(self.people), "people")
        if any(one.name.casefold() == name.casefold() for one in self.people.values()):
            raise RequestError(f"There is a person called {name} already. Choose another name.")
        person = HostedPerson(str(self._clock.next()), name, is_moderator)
        await self._store.save_hosted_person(self._platform, person)
        self.people[person.id] = person
        return person.id

    def person(self, person_id: str) -> HostedPerson:
        """Return a person. Raises RequestError if they are not there."""
        person = self.people.get(person_id)
        if person is None:
            raise RequestError("That person is not there any more.")
        return person

    def _server(self, server_id: str) -> HostedServer:
        for server in self.servers:
            if server.id == server_id:
                return server
        raise RequestError("That server is not there any more.")

    def _server_of(self, channel_id: str) -> HostedServer:
        for server in self.servers:
            if any(one.id == channel_id for one in server.channels):
                return server
        raise RequestError("That channel is not there any more.")

    def _put(self, changed: HostedServer) -> None:
        self.servers = tuple(changed if one.id == changed.id else one for one in self.servers)


def direct_channel_of(person: HostedPerson) -> str:
    """Return the channel of a person's conversation with the bot alone."""
    return f"p{person.id}"


def _checked(name: str, kind: str) -> str:
    """Return a name without what can't be seen. Raises RequestError if nothing is left, or it is too long."""
    shown = unicodedata.normalize("NFC", one_line("".join(c for c in name if c.isprintable()))).strip()
    if not shown:
        raise RequestError(f"The {kind} needs a name.")
    if len(shown) > _MAX_NAME:
        raise RequestError(f"The name is too long: {len(shown)} characters, at most {_MAX_NAME}.")
    return shown


def _check_free(name: str, server: HostedServer) -> None:
    if any(one.name.casefold() == name.casefold() for one in server.channels):
        raise RequestError(f"{server.name} has a channel called {name} already. Choose another name.")


def _check_room(num: int, kind: str) -> None:
    if num >= _MAX_OF_A_KIND:
        raise RequestError(f"There are {num} {kind} already, which is the limit. Remove one first.")
