"""Routes of the bot itself, its guilds, and its registered commands."""

from typing import TYPE_CHECKING, Any

from tests.servers.discord import payloads
from tests.servers.discord.errors import ApiError
from tests.servers.discord.permissions import permissions_of
from tests.servers.discord.world import Guild

if TYPE_CHECKING:
    from tests.servers.discord.rest import Call

COMMANDS = "/applications/{application_id}/commands"
GUILD_COMMANDS = "/applications/{application_id}/guilds/{guild_id}/commands"


def get_gateway_bot(call: "Call") -> Any:
    gateway = call.discord.gateway
    limit = {
        "total": gateway.max_identifies,
        "remaining": max(gateway.max_identifies - gateway.num_identifies, 0),
        "reset_after": 86_400_000,
        "max_concurrency": gateway.identifying.max_concurrency,
    }
    return {"url": gateway.url, "shards": gateway.num_shards, "session_start_limit": limit}


def get_own_user(call: "Call") -> Any:
    return payloads.own_user_payload(call.discord.world)


def get_application(call: "Call") -> Any:
    return payloads.application_payload(call.discord.world)


def get_user(call: "Call") -> Any:
    user = call.discord.world.users.get(call.id("user_id"))
    if user is None:
        raise ApiError(404, 10013, "Unknown User")
    return payloads.user_payload(user)


def _guild(call: "Call") -> Guild:
    guild = call.discord.world.guilds.get(call.id("guild_id"))
    if guild is None:
        raise ApiError(404, 10004, "Unknown Guild")
    if call.discord.world.bot.id not in guild.members:
        raise ApiError(403, 50001, "Missing Access")
    return guild


def get_guild(call: "Call") -> Any:
    return payloads.guild_payload(_guild(call), call.discord.world)


def list_own_guilds(call: "Call") -> Any:
    world = call.discord.world
    return [
        {
            "id": str(guild.id),
            "name": guild.name,
            "icon": None,
            "owner": False,
            "permissions": str(permissions_of(world.bot, guild)),
            "features": [],
        }
        for guild in world.guilds.values()
        if world.bot.id in guild.members
    ]


def leave_guild(call: "Call") -> None:
    call.discord.world.let_bot_leave(_guild(call))


def list_channels(call: "Call") -> Any:
    world = call.discord.world
    return [payloads.channel_payload(channel, world) for channel in _guild(call).channels if not channel.is_thread]


def list_threads(call: "Call") -> Any:
    world = call.discord.world
    threads = [payloads.channel_payload(channel, world) for channel in _guild(call).channels if channel.is_thread]
    return {"threads": threads, "members": []}


def get_member(call: "Call") -> Any:
    membership = _guild(call).members.get(call.id("user_id"))
    if membership is None:
        raise ApiError(404, 10007, "Unknown Member")
    return payloads.member_payload(membership)


def list_members(call: "Call") -> Any:
    limit, after = int(call.query.get("limit", 1)), int(call.query.get("after", 0))
    members = sorted(_guild(call).members.values(), key=lambda member: member.user.id)
    return [payloads.member_payload(member) for member in members if member.user.id > after][:limit]


def _place(call: "Call") -> int | None:
    if call.id("application_id") != call.discord.world.bot.id:
        raise ApiError(403, 20012, "You are not authorized to perform this action on this application")
    return _guild(call).id if "guild_id" in call.params else None


def list_commands(call: "Call") -> Any:
    return call.discord.world.commands.get(_place(call), [])


def _registered(call: "Call", command: dict[str, Any], guild_id: int | None) -> dict[str, Any]:
    """Return a command as Discord keeps it: with ids and with every default filled in."""
    defaults = {"type": 1, "description": "", "default_member_permissions": None, "nsfw": False, "options": []}
    defaults |= {"integration_types": [0, 1], "contexts": None}
    known = [old for old in call.discord.world.commands.get(guild_id, []) if old["name"] == command["name"]]
    same = [old for old in known if old["type"] == command.get("type", 1)]
    ids = {
        "id": same[0]["id"] if same else str(call.discord.world.next_id()),
        "application_id": str(call.discord.world.bot.id),
        "version": str(call.discord.world.next_id()),
    }
    given = {key: value for key, value in command.items() if value is not None}
    return defaults | given | ids | ({"guild_id": str(guild_id)} if guild_id else {})


def put_commands(call: "Call") -> Any:
    place = _place(call)
    call.discord.num_command_syncs += 1
    call.discord.world.commands[place] = [_registered(call, command, place) for command in call.body]
    call.discord.world.touch()
    return call.discord.world.commands[place]


def post_command(call: "Call") -> Any:
    place = _place(call)
    command = _registered(call, call.body, place)
    others = [old for old in call.discord.world.commands.get(place, []) if old["id"] != command["id"]]
    call.discord.world.commands[place] = [*others, command]
    return command


def delete_command(call: "Call") -> None:
    place, command_id = _place(call), call.params["command_id"]
    commands = call.discord.world.commands.get(place, [])
    if all(command["id"] != command_id for command in commands):
        raise ApiError(404, 10063, "Unknown application command")
    call.discord.world.commands[place] = [command for command in commands if command["id"] != command_id]


ROUTES = {
    ("GET", "/gateway/bot"): get_gateway_bot,
    ("GET", "/users/@me"): get_own_user,
    ("GET", "/users/@me/guilds"): list_own_guilds,
    ("DELETE", "/users/@me/guilds/{guild_id}"): leave_guild,
    ("GET", "/users/{user_id}"): get_user,
    ("GET", "/applications/@me"): get_application,
    ("GET", "/oauth2/applications/@me"): get_application,
    ("GET", "/guilds/{guild_id}"): get_guild,
    ("GET", "/guilds/{guild_id}/channels"): list_channels,
    ("GET", "/guilds/{guild_id}/threads/active"): list_threads,
    ("GET", "/guilds/{guild_id}/members"): list_members,
    ("GET", "/guilds/{guild_id}/members/{user_id}"): get_member,
    ("GET", COMMANDS): list_commands,
    ("PUT", COMMANDS): put_commands,
    ("POST", COMMANDS): post_command,
    ("DELETE", COMMANDS + "/{command_id}"): delete_command,
    ("GET", GUILD_COMMANDS): list_commands,
    ("PUT", GUILD_COMMANDS): put_commands,
    ("POST", GUILD_COMMANDS): post_command,
    ("DELETE", GUILD_COMMANDS + "/{command_id}"): delete_command,
}
