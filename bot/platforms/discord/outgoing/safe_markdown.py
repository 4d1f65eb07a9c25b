"""Escaping of texts for Discord messages: foreign text can ping nobody, hide no link and break no markup.

Losing one escape at a cut is harmless: in a link or a mention two characters are escaped.
"""

import re
from collections import deque
from typing import Final

from bot.core.safe_text import clean_model_text

# A code block that is kept: whole lines, a language, no fence inside.
_BLOCK: Final = re.compile(r"```(?:([A-Za-z0-9_+.#-]{1,20})(?=\n))?(.*?)(?:```|\Z)", re.DOTALL)
# A link ends before any of ~ ( ) [ ] * |; the rest is plain text.
_LINK: Final = r"https?://[A-Za-z0-9._/?=&%#+,:;@!$-]*[A-Za-z0-9_/=&%#+$-]"
_INVITE: Final = re.compile(
    r"discord(?:app)?\.(?:gg|io|me|li|com/(?:invite|gift))|discord\.gift|dsc\.gg", re.IGNORECASE
)
# Code with such content becomes plain text: an asterisk before it could end inside it, and Discord would show the
# content as markup.
_RISKY_CODE: Final = re.compile(r"\]\(|<[@#:/a-z]|@(?:everyone|here)|\|\||://|" + _INVITE.pattern, re.IGNORECASE)
_CODE: Final = r"(?<!`)`[^`\n]+`(?!`)"
_CODE_OR_LINK: Final = re.compile(f"{_CODE}|{_LINK}")
_TOKEN: Final = re.compile(
    f"(?P<code>{_CODE})|(?P<link>\\b{_LINK})|"
    r"(?P<escaped>^[^\S\n]*(?:(?:[-+]|\d+\.)[^\S\n]+)*>|[\\`*_~|<\[#@:]|(?<=\])\(|discord(?:app)?(?=\.))",
    re.IGNORECASE | re.MULTILINE,
)
# Bold, italics, underline and strike-through within one line, not nested.
_EMPHASIS: Final = re.compile(
    r"(?<![*_~\\\w])(?P<sign>\*\*\*|\*\*|\*|__|_|~~)(?=[^\s*_~])(?P<inside>[^*_~`\n]*[^*_~`\s])(?P=sign)(?![*_~\w])"
)
_BULLET: Final = re.compile(r"(?m)^([ \t]*)[*+](?= )")
_LIST_SIGN: Final = re.compile(r"(?m)^([^\S\n]*)([-+](?=\s)|\d+(?=\.\s))")
_ZERO_WIDTH: Final = "\u200b"


def utf16_length(text: str) -> int:
    """Return the number of UTF-16 units of `text`, never below the number of characters that Discord counts."""
    return len(text) + sum(c > "\uffff" for c in text)


def escape_text(text: str) -> str:
    """Return `text` escaped so that Discord shows every character literally; links stay links, without a preview."""
    shown = _escape(text, keeps_code=False)
    return _LIST_SIGN.sub(lambda found: found[1] + (f"\\{found[2]}" if found[2] in "-+" else f"{found[2]}\\"), shown)


def escape_line(text: str) -> str:
    """Return `text` escaped as by `escape_text`, on one line."""
    return escape_text(" ".join(text.split()))


def show_model_text(text: str) -> str:
    """Return model text with only the markdown that it may use: code, bold, italics, strike-through, lists.

    Headings, quotes, spoilers, masked links, invites, mentions and custom emoji are shown literally. An open code block
    is closed. A link has no preview.
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
    """Return `text` verbatim in a code block; zero-width spaces break the fences inside."""
    inner = re.sub("`(?=`)", f"`{_ZERO_WIDTH}", text)
    return f"```\n{inner.removesuffix('`')}{'`' + _ZERO_WIDTH if inner.endswith('`') else ''}\n```"


def code_span(text: str) -> str:
    """Return `text` as inline code, on one line."""
    return "`" + (" ".join(text.split()).replace("`", "ˋ") or " ") + "`"


def bold(text: str) -> str:
    """Return `text` escaped and bold, line by line, without the white space around each line."""
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
    """Return model text outside code blocks; emphasis is kept if it starts and ends on one line."""
    text = _BULLET.sub(r"\1-", text)
    kept = deque(found.span() for found in _CODE_OR_LINK.finditer(text))
    shown = []
    end = 0
    for found in _EMPHASIS.finditer(text):
        while kept and kept[0][1] <= found.start():
            kept.popleft()
        # For Discord, emphasis that starts or ends inside code or a link is plain text.
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
    """Return the link in angle brackets, which suppress its preview; an invite becomes plain text."""
    if _INVITE.search(link):
        return re.sub(r"[:._/@#]", lambda found: f"\\{found[0]}", link)
    return f"<{link}>"


def _needs_escape(text: str, index: int) -> bool:
    """Say whether the colon at `index` is part of a URL, an emoji or a timestamp."""
    return text.startswith("://", index) or "<" in text[max(0, index - 40) : index]
