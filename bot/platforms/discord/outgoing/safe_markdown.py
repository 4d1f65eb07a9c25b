"""Texts made safe to stand in a Discord message: what others wrote can ping nobody, hide no link, break nothing.

Escapes are written so that one lost at a cut does no harm: of a link or a mention, two signs are escaped.
"""

import re
from collections import deque
from typing import Final

from bot.core.safe_text import clean_model_text

# A code block as it is written again: whole lines, a language, no fence inside.
_BLOCK: Final = re.compile(r"```(?:([A-Za-z0-9_+.#-]{1,20})(?=\n))?(.*?)(?:```|\Z)", re.DOTALL)
# No ~ ( ) [ ] * | in a link: what follows one of them is plain text.
_LINK: Final = r"https?://[A-Za-z0-9._/?=&%#+,:;@!$-]*[A-Za-z0-9_/=&%#+$-]"
_INVITE: Final = re.compile(
    r"discord(?:app)?\.(?:gg|io|me|li|com/(?:invite|gift))|discord\.gift|dsc\.gg", re.IGNORECASE
)
# Code that Discord could be brought to show as something else stays plain text: a star before it may end inside it.
_RISKY_CODE: Final = re.compile(r"\]\(|<[@#:/a-z]|@(?:everyone|here)|\|\||://|" + _INVITE.pattern, re.IGNORECASE)
_CODE: Final = r"(?<!`)`[^`\n]+`(?!`)"
_CODE_OR_LINK: Final = re.compile(f"{_CODE}|{_LINK}")
_TOKEN: Final = re.compile(
    f"(?P<code>{_CODE})|(?P<link>\\b{_LINK})|"
    r"(?P<escaped>^[^\S\n]*(?:(?:[-+]|\d+\.)[^\S\n]+)*>|[\\`*_~|<\[#@:]|(?<=\])\(|discord(?:app)?(?=\.))",
    re.IGNORECASE | re.MULTILINE,
)
# Bold, italics, underline and strike-through on one line, one inside the other not.
_EMPHASIS: Final = re.compile(
    r"(?<![*_~\\\w])(?P<sign>\*\*\*|\*\*|\*|__|_|~~)(?=[^\s*_~])(?P<inside>[^*_~`\n]*[^*_~`\s])(?P=sign)(?![*_~\w])"
)
_BULLET: Final = re.compile(r"(?m)^([ \t]*)[*+](?= )")
_LIST_SIGN: Final = re.compile(r"(?m)^([^\S\n]*)([-+](?=\s)|\d+(?=\.\s))")
_ZERO_WIDTH: Final = "\u200b"


def utf16_length(text: str) -> int:
    """Return how many UTF-16 units `text` has: never fewer than the characters that Discord counts."""
    return len(text) + sum(c > "\uffff" for c in text)


def escape_text(text: str) -> str:
    """Return `text` so that Discord shows it as it is, sign for sign; links stay links, without a preview."""
    shown = _escape(text, keeps_code=False)
    return _LIST_SIGN.sub(lambda found: found[1] + (f"\\{found[2]}" if found[2] in "-+" else f"{found[2]}\\"), shown)


def escape_line(text: str) -> str:
    """Return `text` like `escape_text`, on one line."""
    return escape_text(" ".join(text.split()))


def show_model_text(text: str) -> str:
    """Return what the model wrote in the markdown it may use: code, bold, italics, strike-through, lists.

    Headings, quotes, spoilers, masked links, invites, mentions, custom emoji are shown as the signs they are made of.
    An open code block is closed. A link has no preview.
    """
    text = clean_model_text(text)
    shown = []
    end = 0
    for block in _BLOCK.finditer(text):
        shown.append(_show_prose(text[end : block.start()]))
        # A backtick at the end would lengthen the closing fence.
        language, body = block[1] or "", block[2].strip("\n").rstrip("`")
        if body.strip():
            before = "" if block.start() == 0 or text[block.start() - 1] == "\n" else "\n"
            after = "" if block.end() == len(text) or text[block.end()] == "\n" else "\n"
            shown.append(f"{before}```{language}\n{body}\n```{after}")
        else:
            shown.append(_show_prose(block[0]))
        end = block.end()
    shown.append(_show_prose(text[end:]))
    return "".join(shown)


def code_block(text: str) -> str:
    """Return `text` verbatim in a code block; a fence inside of it is broken by spaces without width."""
    inner = re.sub("`(?=`)", f"`{_ZERO_WIDTH}", text)
    return f"```\n{inner.removesuffix('`')}{'`' + _ZERO_WIDTH if inner.endswith('`') else ''}\n```"


def code_span(text: str) -> str:
    """Return one line of `text` as code inside of a line."""
    return "`" + (" ".join(text.split()).replace("`", "ˋ") or " ") + "`"


def bold(text: str) -> str:
    """Return `text` escaped and bold, line by line; white space stays outside."""
    lines = []
    for line in text.split("\n"):
        words = line.strip()
        if not words:
            lines.append(line)
            continue
        start = line.index(words)
        lines.append(f"{line[:start]}**{escape_text(words)}**{line[start + len(words) :]}")
    return "\n".join(lines)


def _show_prose(text: str) -> str:
    """Return model text between code blocks; emphasis is kept where it is whole on its line."""
    text = _BULLET.sub(r"\1-", text)
    kept = deque(found.span() for found in _CODE_OR_LINK.finditer(text))
    shown = []
    end = 0
    for found in _EMPHASIS.finditer(text):
        while kept and kept[0][1] <= found.start():
            kept.popleft()
        # What begins or ends inside of code or a link is no emphasis to Discord.
        if kept and kept[0][0] < found.end():
            continue
        sign = found["sign"]
        shown += [_escape(text[end : found.start()]), sign, _escape(found["inside"], keeps_code=False), sign]
        end = found.end()
    shown.append(_escape(text[end:]))
    return "".join(shown)


def _escape(text: str, *, keeps_code: bool = True) -> str:
    def replace(found: re.Match[str]) -> str:
        if code := found["code"]:
            if keeps_code and not _RISKY_CODE.search(code):
                return code
            return "\\`" + _escape(code[1:-1], keeps_code=False) + "\\`"
        if link := found["link"]:
            return _show_link(link)
        sign = found["escaped"]
        if sign.lower().startswith("discord"):
            return sign + "\\"
        if sign == ":" and not _needs_escape(text, found.start()):
            return sign
        return f"{sign[:-1]}\\{sign[-1]}"

    return _TOKEN.sub(replace, text)


def _show_link(link: str) -> str:
    """Return the link in the brackets that keep Discord from showing a preview; an invite is no link at all."""
    if _INVITE.search(link):
        return re.sub(r"[:._/@#]", lambda found: f"\\{found[0]}", link)
    return f"<{link}>"


def _needs_escape(text: str, index: int) -> bool:
    """Say whether the colon at `index` begins an address, or belongs to an emoji or a time stamp."""
    return text.startswith("://", index) or "<" in text[max(0, index - 40) : index]
