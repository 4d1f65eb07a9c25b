"""Escaping of texts for Discord messages: foreign text can ping nobody, hide no link and break no markup.

Links in a person's text stay links. A model invents addresses, so in its text they are words that can't be clicked.

Losing one escape at a cut is harmless: in a link or a mention two characters are escaped.
"""

import re
from collections import deque
from collections.abc import Iterable
from typing import Final

from bot.core.safe_text import clean_model_text

# A code block that is kept: whole lines, a language, no fence inside.
_BLOCK: Final = re.compile(r"```(?:([A-Za-z0-9_+.#-]{1,20})(?=\n))?(.*?)(?:```|\Z)", re.DOTALL)
# Angle brackets around a link suppress its preview. A link ends before any of ~ ( ) [ ] * |; the rest is plain text.
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
    r"(?P<escaped>^[^\S\n]*(?:(?:[-+]|\d+\.)[^\S\n]+)*>|[\\`*_~|<\[#@:]|(?<=\])\(|(?:discord(?:app)?|\bwww)(?=\.))",
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


def escape_text(text: str, *, keeps_links: bool = True) -> str:
    """Return `text` escaped so that Discord shows every character literally.

    Links stay links, without a preview; without `keeps_links` they can't be clicked.
    """
    shown = _escape(text, keeps_code=False, keeps_links=keeps_links)
    return _LIST_SIGN.sub(lambda found: found[1] + (f"\\{found[2]}" if found[2] in "-+" else f"{found[2]}\\"), shown)


def escape_line(text: str) -> str:
    """Return `text` escaped as by `escape_text`, on one line."""
    return escape_text(" ".join(text.split()))


def show_model_text(text: str) -> str:
    """Return model text with only the markdown that it may use: code, bold, italics, strike-through, lists.

    Headings, quotes, spoilers, links, invites, mentions and custom emoji are shown literally. An open code block is
    closed.
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
    """Return `text` escaped and bold, line by line, without the white space around each line and without links."""
    lines = []
    for line in text.split("\n"):
        words = line.strip()
        if not words:
            lines.append(line)
            continue
        start = line.index(words)
        lines.append(f"{line[:start]}**{escape_text(words, keeps_links=False)}**{line[start + len(words) :]}")
    return "\n".join(lines)


def _show_prose(text: str) -> str:
    """Return model text outside code blocks; emphasis is kept if it starts and ends on one line."""
    text = _BULLET.sub(r"\1-", text)
    kept = deque(_CODE_OR_LINK.finditer(text))
    shown = []
    end = 0
    for found in _EMPHASIS.finditer(text):
        while kept and kept[0].end() <= found.start():
            kept.popleft()
        if not _can_emphasise(found, kept):
            continue
        sign = found["sign"]
        shown += [_escape(text[end : found.start()]), sign, _escape(found["inside"], keeps_code=False), sign]
        end = found.end()
    shown.append(_escape(text[end:]))
    return "".join(shown)


def _can_emphasise(emphasis: re.Match[str], kept: Iterable[re.Match[str]]) -> bool:
    """Say whether no code and no end of a link is in `emphasis`; `kept` are those that do not end before it."""
    # For Discord, emphasis that starts or ends inside code is plain text. The signs of a link are part of its address.
    for span in kept:
        if span.start() >= emphasis.end():
            return True
        if span[0].startswith("`") or span.start() < emphasis.start() or span.end() > emphasis.end():
            return False
    return True


def _escape(text: str, *, keeps_code: bool = True, keeps_links: bool = False) -> str:
    def replace(found: re.Match[str]) -> str:
        if code := found["code"]:
            if keeps_code and not _RISKY_CODE.search(code):
                return code
            return "\\`" + _escape(code[1:-1], keeps_code=False, keeps_links=keeps_links) + "\\`"
        if link := found["link"]:
            return f"<{link}>" if keeps_links and not _INVITE.search(link) else _break_link(link)
        sign = found["escaped"]
        if sign[0].isalpha():
            return sign + "\\"
        if sign == ":" and not _needs_escape(text, found.start()):
            return sign
        return f"{sign[:-1]}\\{sign[-1]}"

    return _TOKEN.sub(replace, text)


def _break_link(link: str) -> str:
    """Return the link as plain text."""
    return re.sub(r"[:._/@#]", lambda found: f"\\{found[0]}", link)


def _needs_escape(text: str, index: int) -> bool:
    """Say whether the colon at `index` is part of a URL, an emoji or a timestamp."""
    return text.startswith("://", index) or "<" in text[max(0, index - 40) : index]
