"""The servers, channels and people of a platform that this program hosts itself."""

import json
from dataclasses import dataclass

from bot.store.backend import Transaction
from bot.store.records import Records


@dataclass(frozen=True, slots=True)
class HostedPerson:
    """Somebody who talks there."""

    id: str
    name: str
    is_moderator: bool


@dataclass(frozen=True, slots=True)
class HostedChannel:
    """A channel of a server."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class HostedServer:
    """A server with its channels, in the order in which they were made."""

    id: str
    name: str
    channels: tuple[HostedChannel, ...] = ()


class HostedPlaces(Records):
    """The part of the store that holds the places and people of hosted platforms."""

    async def hosted_servers(self, platform: str) -> tuple[HostedServer, ...]:
        """Return all servers with their channels, the oldest first."""
        rows = await self._database.read(
            "SELECT s.id, s.name, (SELECT json_group_array(json_array(c.id, c.name)) FROM ("
            "  SELECT * FROM hosted_channels WHERE server_id = s.id ORDER BY id) c) AS channels"
            " FROM hosted_servers s WHERE s.platform = ? ORDER BY s.id",
            platform,
        )
        return tuple(
            HostedServer(row["id"], row["name"], tuple(HostedChannel(*one) for one in json.loads(row["channels"])))
            for row in rows
        )

    async def hosted_people(self, platform: str) -> tuple[HostedPerson, ...]:
        """Return all people, the oldest first."""
        rows = await self._database.read(
            "SELECT id, name, is_moderator FROM hosted_people WHERE platform = ? ORDER BY id", platform
        )
        return tuple(HostedPerson(row["id"], row["name"], bool(row["is_moderator"])) for row in rows)

    async def save_hosted_server(self, platform: str, server_id: str, name: str) -> None:
        """Add a server, or rename it."""
        await self._execute(
            "INSERT INTO hosted_servers (platform, id, name) VALUES (?1, ?2, ?3)"
            " ON CONFLICT (id) DO UPDATE SET name = ?3",
            platform,
            server_id,
            name,
        )

    async def save_hosted_channel(self, server_id: str, channel_id: str, name: str) -> None:
        """Add a channel to a server, or rename it."""
        await self._execute(
            "INSERT INTO hosted_channels (server_id, id, name) VALUES (?1, ?2, ?3)"
            " ON CONFLICT (id) DO UPDATE SET name = ?3",
            server_id,
            channel_id,
            name,
        )

    async def save_hosted_person(self, platform: str, person: HostedPerson) -> None:
        """Add a person, or change name and rights."""
        await self._execute(
            "INSERT INTO hosted_people (platform, id, name, is_moderator) VALUES (?1, ?2, ?3, ?4)"
            " ON CONFLICT (id) DO UPDATE SET name = ?3, is_moderator = ?4",
            platform,
            person.id,
            person.name,
            int(person.is_moderator),
        )

    async def remove_hosted_server(self, server_id: str) -> None:
        """Remove a server and its channels; what was said there is another matter, see `forget_server`."""
        await self._execute("DELETE FROM hosted_servers WHERE id = ?", server_id)

    async def remove_hosted_channel(self, channel_id: str) -> None:
        """Remove a channel; what was said there is another matter, see `forget_channel`."""
        await self._execute("DELETE FROM hosted_channels WHERE id = ?", channel_id)

    async def remove_hosted_person(self, person_id: str) -> None:
        """Remove a person; what they said is another matter, see `forget_person`."""
        await self._execute("DELETE FROM hosted_people WHERE id = ?", person_id)

    async def _execute(self, sql: str, *values: str | int) -> None:
        async def run(transaction: Transaction) -> None:
            await transaction.execute(sql, *values)
            if sql.startswith("DELETE"):
                transaction.mark_erased()

        await self._database.write(run)
