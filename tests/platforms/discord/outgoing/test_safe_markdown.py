"""What others wrote, read as Discord's clients read it: no ping, no masked link, no broken block."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.core.safe_text import clean_model_text
from bot.core.splitting import split_text
from bot.platforms.discord.outgoing.safe_markdown import (
    bold,
    code_block,
    code_span,
    escape_text,
    show_model_text,
    utf16_length,
)

# The order in which Discord's clients try their rules at each place, as far as it matters here.
ESCAPE = re.compile(r"\\([^0-9A-Za-z\s])")
BLOCK = re.compile(r"```(?:([a-z0-9_+\-.#]+?)\n)?\n*([^\n].*?)\n*```", re.IGNORECASE | re.DOTALL)
SPAN = re.compile(r"(`+)(.*?[^`])\1(?!`)", re.DOTALL)
QUIET_LINK = re.compile(r"<https?://[^\s<>]+>", re.IGNORECASE)
LINK = re.compile(r"https?://[^\s<]+[^<.,:;\"'\]\s]", re.IGNORECASE)
EMPHASIS = (
    re.compile(r"\*\*((?:\\.|[^\\])+?)\*\*(?!\*)", re.DOTALL),
    re.compile(r"__((?:\\.|[^\\])+?)__(?!_)", re.DOTALL),
    re.compile(r"~~((?:\\.|[^\\])+?)~~", re.DOTALL),
    re.compile(r"\*(?=\S)((?:\*\*|\\.|\s+(?:\\.|[^\s*\\]|\*\*)|[^\s*\\])+?)\*(?!\*)", re.DOTALL),
    re.compile(r"_((?:__|\\.|[^\\_])+?)_\b", re.DOTALL),
)
MASKED = re.compile(
    r"\[((?:\[[^\]]*\]|[^\[\]]|\](?=[^\[]*\]))*)\]\(\s*<?(.*?)>?(?:\s+['\"](.*?)['\"])?\s*\)", re.DOTALL
)
MENTION = re.compile(r"<(?:@[!&]?\d+|#\d+|a?:\w+:\d+|/[^>]+:\d+|t:-?\d+|id:\w+)|@everyone|@here")
SPOILER = re.compile(r"\|\|(.+?)\|\|", re.DOTALL)
WWW = re.compile(r"\bwww\.\w", re.IGNORECASE)
INVITE = re.compile(r"discord(?:app)?\.(?:gg|com/invite|com/gift|gift)/\w", re.IGNORECASE)
BAD = (MASKED, MENTION, SPOILER, INVITE, WWW)
LINE_START = re.compile(r"(?:[-*+]\s+|\d+\.\s+)*(?:#{1,3}\s|-#\s|>\s|>>>\s)")


def read(markdown: str, *, is_line_start: bool = True, takes_links: bool = False) -> tuple[str, list[str]]:
    """Return the words that a person sees, and the pings, links and markup that Discord would make of the text.

    With `takes_links`, a link without a preview is no such thing.
    """
    seen: list[str] = []
    found: list[str] = []
    i = 0
    while i < len(markdown):
        if is_line_start and (start := LINE_START.match(markdown, i)):
            found.append(f"line start {start[0]!r}")
        is_line_start = markdown[i] == "\n" or (is_line_start and markdown[i] in " \t")
        if escape := ESCAPE.match(markdown, i):
            seen.append(escape[1])
            i = escape.end()
        elif (code := BLOCK.match(markdown, i)) or (code := SPAN.match(markdown, i)):
            seen.append(code[2])
            i = code.end()
        elif link := QUIET_LINK.match(markdown, i):
            seen.append(link[0][1:-1])
            found += [] if takes_links else [f"a link {link[0]!r}"]
            i = link.end()
        elif link := LINK.match(markdown, i):
            found.append(f"a link with a preview {link[0]!r}")
            i = link.end()
        elif bad := next((m for rule in BAD if (m := rule.match(markdown, i))), None):
            found.append(bad[0])
            i = bad.end()
        elif inside := next((m for rule in EMPHASIS if (m := rule.match(markdown, i))), None):
            words, more = read(inside[1], is_line_start=False, takes_links=takes_links)
            seen.append(words)
            found += more
            i = inside.end()
        else:
            seen.append(markdown[i])
            i += 1
    return "".join(seen), found


FRAGMENTS = st.sampled_from(
    [
        *"*_~`|\\<>[]()#@:- \n.!/1a",
        "**", "__", "~~", "||", "```", "```py\n", "\n```\n", "``", "[click](http://evil.example)", "](http://e.example)",
        "<@123>", "<@&5>", "<#9>", "<:smile:12>", "<a:wave:12>", "</help:77>", "<t:1700000000:R>", "<id:browse>",
        "@everyone", "@here", "https://example.com/a_b*c", "http://a.example/(x)", "https://discord.gg/abc",
        "<https://b.example>", "www.example.com", "HTTPS://WWW.A.EXAMPLE", "steam://run/1",
        "discord.gg/abc", "DISCORD.GG/abc", "discord.com/invite/abc", "discordapp.com/invite/x",
        "# head", "## ", "-# small", "> quote",
        ">>> ", "- item", "1. item", "* item", "word ", " snake_case ", "`code`", "**bold**", "*it*", "_it_",
    ]
)  # fmt: skip
TEXTS = st.one_of(st.lists(FRAGMENTS, max_size=30).map("".join), st.text(max_size=80))


@given(TEXTS)
@example("**x `**[click](http://evil.example)`")
@example("**x\n```\n**[click](http://evil.example)\n```")
@example("\\[click](http://evil.example)")
@example("`[click](http://evil.example)`*`*")
@example("- # head")
@example("```\n`\n```[click](http://evil.example)`")
@example("``` ```[click](http://evil.example)``` ```")
@example("**https://a.example/_b_** _http://c.example_")
@example("`https://a.example` and <https://b.example>")
@example("www.example.com")
def test_model_text_pings_nobody_and_has_no_link(text: str):
    _, found = read(show_model_text(text))
    assert found == []


@given(TEXTS)
@example("https://discord.gg/abc")
def test_a_person_s_words_are_shown_literally(text: str):
    text = clean_model_text(text)
    words, found = read(escape_text(text), takes_links=True)
    assert found == []
    assert words == text
    words, found = read(escape_text(text, keeps_links=False))
    assert found == []
    assert words == text


@given(TEXTS)
@example("[a](http://b.example)")
def test_bold_words_are_shown_literally(text: str):
    text = clean_model_text(text)
    words, found = read(bold(text), is_line_start=False)
    assert found == []
    assert words == text


@given(TEXTS, st.integers(min_value=40, max_value=120))
def test_pieces_of_a_text_are_as_safe_as_the_whole(text: str, limit: int):
    for piece in split_text(text, limit):
        assert read(show_model_text(piece))[1] == []


@given(TEXTS)
def test_a_text_in_a_code_block_cannot_leave_it(text: str):
    block = code_block(f"a{text}b")
    assert block.count("```") == 2
    assert BLOCK.fullmatch(block)


@given(TEXTS)
def test_no_fence_is_left_open(text: str):
    assert show_model_text(text).count("```") % 2 == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, it's 5 (five).", "plain words, it's 5 (five)."),
        ("**bold** *it* _it_ __under__ ~~no~~ ***both***", "**bold** *it* _it_ __under__ ~~no~~ ***both***"),
        ("run `print(x_y)` now", "run `print(x_y)` now"),
        ("- one\n* two\n1. three", "- one\n- two\n1. three"),
        ("```py\nprint('<@1>')\n```", "```py\nprint('<@1>')\n```"),
        ("say:\n```\nhalf", "say:\n```\nhalf\n```"),
        ("a ** b", "a \\*\\* b"),
        ("# Head", "\\# Head"),
        ("see https://example.com/a_b.", "see https\\:\\/\\/example\\.com\\/a\\_b."),
        ("see <https://a.example>", "see \\<https\\:\\/\\/a\\.example>"),
        ("see www.example.com", "see www\\.example.com"),
        ("**http://a.example**", "**http\\:\\/\\/a\\.example**"),
        ("[here](https://example.com)", "\\[here]\\(https\\:\\/\\/example\\.com)"),
        ("```\nhttps://a.example\n```", "```\nhttps://a.example\n```"),
        ("<@123> @everyone", "\\<\\@123> \\@everyone"),
        ("join discord.gg/abc", "join discord\\.gg/abc"),
        ("2 < 3 -> yes", "2 \\< 3 -> yes"),
    ],
)
def test_a_model_may_use_harmless_markdown(text: str, shown: str):
    assert show_model_text(text) == shown


def test_code_in_a_line_and_lengths_are_as_discord_counts_them():
    assert code_span("a `b`\nc") == "`a ˋbˋ c`"
    assert utf16_length("a😀") == 3


@pytest.mark.parametrize(
    "text",
    [
        "[a](http://b.example)",
        "**x `**[a](http://b.example)`",
        "<@1>",
        "x @here",
        "||a||",
        "# a",
        "- > a",
        "discord.gg/a",
    ],
)
def test_the_reader_of_these_tests_sees_what_discord_would_show(text: str):
    assert read(text)[1] != []
