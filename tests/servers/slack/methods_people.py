"""Methods about tokens, users, bots and user groups."""

from tests.servers.slack.errors import ApiError
from tests.servers.slack.payloads import Json, group_payload, user_payload
from tests.servers.slack.webapi import Call, Method, page


def _auth_test(call: Call) -> Json:
    team, bot = call.installation.team, call.bot
    return {
        "url": f"https://{team.domain}.slack.com/",
        "team": team.name,
        "user": bot.name,
        "team_id": team.id,
        "user_id": bot.id,
        "bot_id": bot.bot_id,
        "is_enterprise_install": False,
    }


def _open_connection(call: Call) -> Json:
    return {"url": call.slack.sockets.issue_url(call.app)}


def _bots_info(call: Call) -> Json:
    bot_id = call.text("bot")
    for user in call.slack.world.users.values():
        if user.bot_id is not None and user.bot_id == bot_id and user.team is call.installation.team:
            bot = {"id": user.bot_id, "app_id": user.app_id, "user_id": user.id, "name": user.name, "deleted": False}
            return {"bot": bot}
    raise ApiError("bot_not_found")


def _team_info(call: Call) -> Json:
    team = call.installation.team
    return {"team": {"id": team.id, "name": team.name, "domain": team.domain, "email_domain": ""}}


def _users_info(call: Call) -> Json:
    return {"user": user_payload(call.user(), call.installation.team)}


def _users_list(call: Call) -> Json:
    users, following = page(call, list(call.installation.team.users.values()), 200, 1000)
    return {"members": [user_payload(user, call.installation.team) for user in users], "cache_ts": 0} | following


def _groups_list(call: Call) -> Json:
    groups = call.installation.team.groups.values()
    with_users = call.flag("include_users")
    return {
        "usergroups": [group_payload(one) | ({"users": list(one.user_ids)} if with_users else {}) for one in groups]
    }


def _group_users(call: Call) -> Json:
    group = call.installation.team.groups.get(call.need("usergroup"))
    if group is None:
        raise ApiError("no_such_subteam")
    return {"users": list(group.user_ids)}


METHODS = {
    "api.test": Method(lambda call: {"args": call.arguments}),
    "auth.test": Method(_auth_test),
    "apps.connections.open": Method(_open_connection, ("connections:write",), takes_app_token=True),
    "bots.info": Method(_bots_info, ("users:read",)),
    "team.info": Method(_team_info, ("team:read",)),
    "users.info": Method(_users_info, ("users:read",)),
    "users.list": Method(_users_list, ("users:read",)),
    "usergroups.list": Method(_groups_list, ("usergroups:read",)),
    "usergroups.users.list": Method(_group_users, ("usergroups:read",)),
}
