"""Pictures that people attach to messages: what is stored of them, and what stands for them in texts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from bot.errors import RequestError

PictureType = Literal["image/png", "image/jpeg"]

MAX_PICTURES: Final = 4  # of one message
# The newest ones of a conversation go along with its words.
MAX_READ_PICTURES: Final = 4
# The longest edge of a stored picture, in pixels.
MAX_EDGE: Final = 1024
# How many tokens a picture of MAX_EDGE x MAX_EDGE pixels takes at most. Source: Qwen2-VL has a token for each 28 x 28
# pixels, so 37 x 37; OpenAI's GPT-4o has 85, and 170 for each of the 4 tiles of such a picture.
PICTURE_TOKENS: Final = 37 * 37
PICTURE_MARK: Final = "[picture]"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a message as it is stored: small, without what the camera wrote into it.

    `id` is the platform's id of the attached file, unique within its message.
    """

    id: str
    media_type: PictureType
    data: bytes = field(repr=False)


def mark_pictures(text: str, num: int) -> str:
    """Return `text` followed by a mark for each of `num` pictures."""
    return " ".join(filter(None, (text, *(PICTURE_MARK for _ in range(num)))))


def reads_text_only(model_name: str, num: int) -> str:
    """Return the sentence that a model does not see the `num` pictures of a message."""
    return f"{model_name} reads text only and has not seen the picture{'' if num == 1 else 's'}."


def check_pictures(picture_ids: Sequence[str], pictures: Sequence[Picture]) -> None:
    """Raise RequestError if one of the attached pictures was not read."""
    if not set(picture_ids) <= {picture.id for picture in pictures}:
        raise RequestError(f"The picture{'' if len(picture_ids) == 1 else 's'} got lost. Send the message again.")
