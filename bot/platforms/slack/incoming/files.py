"""Files of messages: those of another workspace come as an id only, and what they are has to be asked for."""

import logging
from dataclasses import replace
from typing import Final

from bot.errors import FewshotError
from bot.platforms.slack.incoming.reading import Said, read_file
from bot.platforms.slack.outgoing.sender import Sender

logger = logging.getLogger(__name__)

_MAX_ASKED: Final = 5
_DEADLINE_S: Final = 5.0


async def with_files(sender: Sender, said: Said) -> Said:
    """Return what was said with the files that the event did not describe, as far as Slack does now."""
    found = []
    for file_id in said.hidden_file_ids[:_MAX_ASKED]:
        try:
            answer = await sender.call(said.id.team, "files_info", deadline_s=_DEADLINE_S, file=file_id)
            found.append(read_file(answer.get("file") or {}))
        except (FewshotError, TypeError, ValueError) as e:
            logger.info("a file in channel %s can't be looked up: %s", said.id.channel, e)
    return replace(said, files=(*said.files, *found), hidden_file_ids=()) if found else said
