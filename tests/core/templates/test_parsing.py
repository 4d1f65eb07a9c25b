import contextlib
import hashlib
import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.templates.parsing import MAX_TEMPLATE_BYTES, format_template, parse_template
from bot.core.templates.template import RESERVED_NAMES, Example, PromptTemplate
from bot.errors import TemplateError

SENTIMENT = """\
+++
description = "Is a message friendly or not?"
kind = "classify"
labels = ["Positive", "Negative"]
[[examples]]
input = "I love when you say this"
output = "Positive"
[[examples]]
input = "I hate myself"
output = "Negative"
[[tests]]
input = "This is awful for you to say this"
output = "Negative"
+++
Messages and how they feel.

$examples
$input ->
"""


def parse(text: str, name: str = "mine") -> PromptTemplate:
    return parse_template(text, name=name, source="mine.prompt")


def file(front: str = "", body: str = "$examples\n$input:", *, kind: str = "complete") -> str:
    """Return a prompt file whose lines 2 and 3 are a description and the kind."""
    lines = textwrap.dedent(front).strip()
    return f'+++\ndescription = "x"\nkind = "{kind}"\n' + (f"{lines}\n" if lines else "") + f"+++\n{body}\n"


ROW = '[[examples]]\ninput = "a"\noutput = "b"'
CHAT_BODY = "You are $bot_name.\n\n$examples\n$history\n$bot_name:"


def test_the_example_of_the_design_is_read() -> None:
    template = parse(SENTIMENT, "sentiment")
    assert template.kind == "classify"
    assert template.labels == ("Positive", "Negative")
    assert template.instruction == "Messages and how they feel.\n\n"
    assert template.query == "$input ->"
    assert template.examples == (Example("I love when you say this", "Positive"), Example("I hate myself", "Negative"))
    assert template.tests == (Example("This is awful for you to say this", "Negative"),)
    assert (template.separator, template.example_separator, template.is_multiline) == (" ", "\n", False)
    assert template.stop == ()


def test_windows_line_breaks_and_a_byte_order_mark_change_nothing_not_even_the_version() -> None:
    windows = parse("\ufeff" + SENTIMENT.replace("\n", "\r\n"))
    assert windows == parse(SENTIMENT)
    assert windows.version == parse(SENTIMENT).version
    assert windows.source_text == SENTIMENT


def test_the_version_is_the_start_of_the_sha256_of_the_text() -> None:
    text = '+++\ndescription="x"\n+++\n$input'
    assert parse(text).version == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert parse(text).version != parse(text + "!").version


def test_kind_is_complete_where_none_is_named() -> None:
    assert parse('+++\ndescription = "x"\n+++\n$input').kind == "complete"


def test_examples_set_the_stop_and_an_own_stop_replaces_it() -> None:
    assert parse(file()).stop == ()
    assert parse(file(ROW)).stop == ("\n",)
    assert parse(file('example_separator = "\\n\\n"\n' + ROW)).stop == ("\n\n",)
    assert parse(file('stop = [";"]\n' + ROW)).stop == (";",)
    assert parse(file("stop = []\n" + ROW)).stop == ()


def test_blank_lines_around_the_slot_for_examples_do_not_get_into_the_query() -> None:
    assert parse(file(ROW, "Do it.\n$examples\n\n \n$input:\n\n")).query == "$input:"


def test_a_body_without_the_slot_is_the_query_verbatim() -> None:
    template = parse(file(body="\nFor $$5: ${input}s  \n\n"))
    assert (template.instruction, template.query) == ("", "\nFor $$5: ${input}s")


def test_a_chat_template_has_history_and_ends_with_the_bots_name() -> None:
    template = parse(file(f'markup = "transcript"\n{ROW}', CHAT_BODY, kind="chat"))
    assert template.instruction == "You are $bot_name.\n\n"
    assert template.query == "$history\n$bot_name:"
    assert template.markup == "transcript"


def test_sampling_options_are_kept_in_their_own_types() -> None:
    template = parse(file('[sampling]\ntemperature = 0\nmax_new_tokens = 20\nmin_p = 0.1\npreset = "careful"'))
    assert template.sampling == {"temperature": 0.0, "max_new_tokens": 20, "min_p": 0.1, "preset": "careful"}
    assert isinstance(template.sampling["temperature"], float)


# The whole sentence that each mistake gets; ^N stands for "mine.prompt:N: ".
MISTAKES = {
    "no front matter": ("$input", "^1The first line must be exactly +++."),
    "an indented fence": (" +++\n", "^1The first line must be exactly +++."),
    "nothing at all": ("", "^1The first line must be exactly +++."),
    "front matter without an end": (
        '+++\ndescription = "x"\n++++',
        "^3The front matter does not end. Add a line that is exactly +++ below it.",
    ),
    "wrong TOML": (
        '+++\ndescription = "x"\nkind complete\n+++\n$input',
        "^3The front matter is not valid TOML: Expected '=' after a key in a key/value pair (column 6).",
    ),
    "a string without an end": (
        '+++\ndescription = "x\n+++\n$input',
        "^2The front matter is not valid TOML: Illegal character '\\n' (column 17).",
    ),
    "TOML that breaks off": (
        '+++\ndescription = """x\n+++\n$input',
        "^3The front matter is not valid TOML: Unterminated string before the closing +++.",
    ),
    "a key twice": (
        file('kind = "chat"'),
        "^4The front matter is not valid TOML: Cannot overwrite a value (column 14).",
    ),
    "deep nesting": (file("x = " + "[" * 5000), "mine.prompt: The front matter is nested too deeply."),
    "a key of many names": (file("x = 1\ny." + "a . " * 8 + "b = 2"), "^5This key has too many dotted names."),
    "an endless number": (
        file("x = " + "1" * 5000),
        "mine.prompt: A number in the front matter is too long.",
    ),
    "an unknown key": (file('lables = ["a"]'), "^4There is no key 'lables'; did you mean labels?"),
    "a key in capitals": (file("Stop = []"), "^4There is no key 'Stop'; did you mean stop?"),
    "an unlikely key": (
        file("zzz = 1"),
        "^4There is no key 'zzz'; use description, kind, model, labels, separator, example_separator, "
        "multiline, markup, stop, sampling, neighbours, examples or tests.",
    ),
    "no model": (file('model = " "'), "^4model takes the name of a model, of at most 200 characters."),
    "a model of two lines": (file('model = "a\\nb"'), "^4model takes the name of a model, of at most 200 characters."),
    "an unknown table": (file("[samplings]\nn = 1"), "^4There is no key 'samplings'; did you mean sampling?"),
    "neighbours of free text": (
        file("[neighbours]\nin_prompt = 1\nnearest = 1\nweight = 0.5"),
        "^4neighbours is not for kind complete, only for classify.",
    ),
    "neighbours that are no table": (
        file('labels = ["Yes", "No"]\nneighbours = true', kind="classify"),
        "^5Write in_prompt, nearest and weight on their own lines below [neighbours].",
    ),
    "an unknown key of neighbours": (
        file('labels = ["Yes", "No"]\n[neighbours]\nnearst = 2', kind="classify"),
        "^6There is no key 'nearst' in [neighbours]; did you mean nearest?",
    ),
    "a key below neighbours": (
        file('labels = ["Yes", "No"]\n[neighbours]\nseparator = " "', kind="classify"),
        "^6Move separator above the first line in brackets.",
    ),
    "neighbours without a weight": (
        file('labels = ["Yes", "No"]\n[neighbours]\nin_prompt = 1\nnearest = 2', kind="classify"),
        "^5[neighbours] has no weight.",
    ),
    "no nearest example": (
        file('labels = ["Yes", "No"]\n[neighbours]\nin_prompt = 1\nnearest = 0\nweight = 1', kind="classify"),
        "^7nearest takes a whole number from 1 to 1000.",
    ),
    "half an example": (
        file('labels = ["Yes", "No"]\n[neighbours]\nin_prompt = 0.5\nnearest = 1\nweight = 1', kind="classify"),
        "^6in_prompt takes a whole number from 0 to 1000.",
    ),
    "too much weight": (
        file('labels = ["Yes", "No"]\n[neighbours]\nin_prompt = 1\nnearest = 1\nweight = 1.5', kind="classify"),
        "^8weight takes a number from 0 to 1.",
    ),
    "weight as a truth": (
        file('labels = ["Yes", "No"]\n[neighbours]\nin_prompt = 1\nnearest = 1\nweight = true', kind="classify"),
        "^8weight takes a number from 0 to 1.",
    ),
    "no description": (
        '+++\nkind = "complete"\n+++\n$input',
        "^1The description is missing. Say in one line what the template is for.",
    ),
    "a blank description": (
        '+++\nkind = "complete"\ndescription = " "\n+++\n$input',
        "^3The description is missing. Say in one line what the template is for.",
    ),
    "a description of two lines": (
        '+++\ndescription = "a\\nb"\n+++\n$input',
        "^2The description must be one line.",
    ),
    "a description that is a number": (
        "+++\n\ndescription = 5\n+++\n$input",
        "^3description takes a text in quotes, not a whole number.",
    ),
    "an unknown kind": (file(kind="clasify"), "^3There is no kind 'clasify'; did you mean classify?"),
    "a kind that is a list": (
        '+++\ndescription = "x"\nkind = ["chat"]\n+++\n$input',
        "^3kind takes a text in quotes, not a list.",
    ),
    "labels elsewhere": (file('labels = ["a", "b"]'), "^4labels is not for kind complete, only for classify."),
    "markup elsewhere": (file('markup = "auto"'), "^4markup is not for kind complete, only for chat."),
    "a separator in chat": (
        file('separator = ""', CHAT_BODY, kind="chat"),
        "^4separator is not for kind chat, only for complete and classify.",
    ),
    "no labels": (
        file(kind="classify"),
        "^3Kind classify needs 2 to 50 labels: the answers that it chooses from.",
    ),
    "one label": (
        file('labels = ["a"]', kind="classify"),
        "^4Kind classify needs 2 to 50 labels: the answers that it chooses from.",
    ),
    "labels in one text": (
        file('labels = "a, b"', kind="classify"),
        "^4labels takes a list of texts, not a text.",
    ),
    "a number among the labels": (
        file('labels = ["a", 2.5]', kind="classify"),
        "^4labels takes a list of texts, but one of them is a number.",
    ),
    "a label with white space": (
        file('labels = ["a", "b "]', kind="classify"),
        "^4The label 'b ' must not be empty, or start or end with white space.",
    ),
    "an empty label": (
        file('labels = ["a", ""]', kind="classify"),
        "^4The label '' must not be empty, or start or end with white space.",
    ),
    "a label twice": (
        file('labels = ["a", "b", "a"]', kind="classify"),
        "^4The label 'a' is in labels twice. Remove one.",
    ),
    "sampling in classify": (
        file('labels = ["a", "b"]\n[sampling]\nn = 1', kind="classify"),
        "^5Kind classify never samples. Remove [sampling].",
    ),
    "a stop in classify": (
        file('labels = ["a", "b"]\nstop = ["x"]', kind="classify"),
        "^5stop is not for kind classify, only for complete and chat.",
    ),
    "an output that is no label": (
        file('labels = ["Positive", "Negative"]\n[[tests]]\ninput = "a"\noutput = "positiv"', kind="classify"),
        "^7The output 'positiv' is not a label; did you mean Positive?",
    ),
    "an output far from any label": (
        file('labels = ["Yes", "No"]\n' + ROW, kind="classify"),
        "^7The output 'b' is not a label; use Yes or No.",
    ),
    "examples without their slot": (
        file(ROW, "$input"),
        "^4There are [[examples]], but the text has no line $examples for them.",
    ),
    "an example without output": (
        file(ROW + '\n[[examples]]\ninput = "c"'),
        "^7This row of [[examples]] has no output.",
    ),
    "a misspelt key in a row": (
        file(ROW + '\n[[examples]]\ninput = "c"\noutptu = "d"'),
        "^9There is no key 'outptu' in [[examples]]; did you mean output?",
    ),
    "a key of the file in a row": (
        file(ROW + "\nstop = []"),
        "^7Move stop above the first line in brackets.",
    ),
    "a number in a row": (
        file('[[tests]]\ninput = "3"\noutput = 3'),
        "^6output takes a text in quotes, not a whole number.",
    ),
    "an empty input": (file('[[tests]]\ninput = " "\noutput = "b"'), "^5The input is empty."),
    "an output with white space": (
        file('[[tests]]\ninput = "a"\noutput = " b"'),
        "^6An output must not start or end with white space.",
    ),
    "rows that are none": (file('tests = ["a"]'), "^4Write each row of tests below its own line [[tests]]."),
    "a single table of rows": (
        file('[examples]\ninput = "a"\noutput = "b"'),
        "^4Write each row of examples below its own line [[examples]].",
    ),
    "multiline as a text": (file('multiline = "yes"'), "^4multiline takes true or false, not a text."),
    "a date as separator": (file("separator = 2024-01-01"), "^4separator takes a text in quotes, not a date or time."),
    "an empty example separator": (file('example_separator = ""'), "^4example_separator can't be empty."),
    "an unknown markup": (
        file('markup = "transcirpt"', CHAT_BODY, kind="chat"),
        "^4There is no markup 'transcirpt'; did you mean transcript?",
    ),
    "a stop that is no list": (file('stop = "x"'), "^4stop takes a list of texts, not a text."),
    "an empty stop": (file('stop = [""]'), "^4stop takes at most 16 texts of 1 to 200 characters."),
    "a separator that stops": (
        file('separator = "\\n"\n' + ROW),
        "^4The separator contains a stop text, so every answer would be empty. Choose another stop text.",
    ),
    "a misspelt option": (
        file("[sampling]\ntemprature = 1"),
        "^5There is no sampling option 'temprature'; did you mean temperature?",
    ),
    "an option of another program": (
        file("[sampling]\nmax_length = 9"),
        "^5There is no sampling option 'max_length' here. Use max_new_tokens, which counts the answer without the"
        " prompt.",
    ),
    "an option out of range": (
        file("[sampling]\nn = 1\ntemperature = 3"),
        "^6temperature takes a number from 0 to 2, not 3.",
    ),
    "an option that is no number": (
        file('[sampling]\ntop_k = "5"'),
        "^5top_k takes a whole number from 0 to 1000, not a text.",
    ),
    "an option that is not finite": (
        file("[sampling]\ntemperature = nan"),
        "^5temperature takes a number from 0 to 2, not nan.",
    ),
    "a number beyond all bounds": (
        file("[sampling]\nseed = 0x" + "f" * 5000),
        "^5seed takes a whole number from 0 to 2^63-1, not a number that long.",
    ),
    "an unknown preset": (
        file('[sampling]\npreset = "hot"'),
        "^5preset takes careful, normal, wild, greedy or beam.",
    ),
    "stop under sampling": (
        file("[sampling]\nstop = []"),
        "^5Move stop above the first line in brackets.",
    ),
    "options that exclude each other": (
        file("[sampling]\nn = 3\ntemperature = 0"),
        "^4temperature 0 always picks the likeliest token, so n must be 1, not 3.",
    ),
    "sampling as a text": (
        file('sampling = "greedy"'),
        "^4Write each sampling option on its own line below [sampling].",
    ),
    "no text": (file(body="\n \n"), "^5There is no text below the front matter. Write the prompt there."),
    "an unknown slot": (file(body="$inptu"), "^5There is no slot $inptu; did you mean $input?"),
    "a slot run into a word": (file(body="$inputs"), "^5There is no slot $inputs; did you mean $input?"),
    "an unlikely slot": (file(body="a\n$zzz"), "^6There is no slot $zzz; use $examples or $input."),
    "a single dollar": (
        file(body="It costs $5.\n$input"),
        "^5Write a dollar sign as $$. A single one starts a slot, such as $input.",
    ),
    "no input": (file(body="Hello\nyou"), "^6The text needs $input exactly once, where the input goes."),
    "the input twice": (file(body="$input\n${input}"), "^6$input is here a second time. Remove one of them."),
    "the input above the examples": (
        file(body="$input\n$examples\nand"),
        "^5$input is above $examples. Move it below, into the query.",
    ),
    "examples beside other words": (
        file(body="See $examples\n$input"),
        "^5$examples must be alone on its line.",
    ),
    "examples twice": (
        file(body="$examples\n$examples\n$input"),
        "^6$examples is here a second time. Remove one of them.",
    ),
    "history outside of chat": (
        file(body="$history\n$input"),
        "^5A template of kind complete has no $history; its slots are $examples and $input.",
    ),
    "input in chat": (
        file(body="$input\n$history\n$bot_name:", kind="chat"),
        "^5A template of kind chat has no $input; its slots are $examples, $history and $bot_name.",
    ),
    "chat without history": (
        file(body="Hello\n$bot_name:", kind="chat"),
        "^6A chat template needs $history on a line of its own, where the conversation goes.",
    ),
    "chat that ends otherwise": (
        file(body="$history\nBot:", kind="chat"),
        "^6A chat template's last line must be $bot_name: and nothing else.",
    ),
    "chat with words between": (
        file(body="$examples\nNow:\n$history\n$bot_name:", kind="chat"),
        "^6Text between $examples, $history and $bot_name: is not possible. Move it above them.",
    ),
    "chat with the history first": (
        file(body="$history\n$examples\n$bot_name:", kind="chat"),
        "^6$examples must be above $history.",
    ),
    "a lone surrogate": (
        file(body="a\n\ud800 $input"),
        "^6This line contains half a character (a lone surrogate), U+D800. Remove it.",
    ),
    "a control character": (file(body="$input\x1b"), "^5This line contains a control character, U+001B. Remove it."),
    "a template that is too large": (
        file(body="x" * MAX_TEMPLATE_BYTES),
        "mine.prompt: A template has at most 65,536 bytes; this one has 65,581. Shorten it.",
    ),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_each_mistake_gets_one_sentence_with_its_line(text: str, expected: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse(text)
    if expected.startswith("^"):
        number = expected[1] if not expected[2].isdigit() else expected[1:3]
        expected = f"mine.prompt:{number}: {expected[1 + len(number) :]}"
    assert str(caught.value) == expected


def test_dots_in_strings_and_comments_are_no_deep_keys() -> None:
    front = """
        # a.b.c.d.e.f.g.h.i.j.k
        [[tests]]
        input = 'a.b.c.d.e.f.g.h.i.j.k = "'
        output = "a.b.c.d.e.f.g.h.i.j.k \\" a.b.c.d.e.f.g.h.i.j.k"
        """
    assert len(parse(file(front)).tests) == 1


@pytest.mark.parametrize(
    "text",
    [
        file(".".join(["a"] * 30_000) + " = 1"),
        file(".".join(['"a"'] * 15_000) + " = 1"),
        file("x = {" + "a." * 30_000 + "a = 1}"),
        file("[" + "a." * 30_000 + "a]"),
        file("x = " + "{a=" * 15_000),
        file('x = """' + '\n"' * 20_000),
        file("x = '" + '"' * 60_000 + "'"),
        file('labels = ["' + '", "'.join(map(str, range(7000))) + '"]', kind="classify"),
        file(body="$$" * 30_000 + "$input"),
        file(body="$input\n" * 8000),
        file(body="$input" + " " * 60_000 + "x"),
        file("x" * 60_000 + " = 1"),
        file(f"{ROW}\n" * 1000),
    ],
)
def test_no_text_within_the_size_limit_takes_long(text: str) -> None:
    started = time.process_time()
    with contextlib.suppress(TemplateError):
        parse(text)
    assert time.process_time() - started < 1.0


def test_lines_are_right_below_multi_line_strings_and_lists() -> None:
    front = '''
        labels = [
            "a",
            "b",
        ]
        [[examples]]
        input = """x
        output = "no key"
        \\""" still inside"""
        output = "a"
        [[examples]]
        "input" = 'y'
        output = "c"
        '''
    with pytest.raises(TemplateError, match=r"^mine\.prompt:15: The output 'c' is not a label"):
        parse(file(front, kind="classify"))


@pytest.mark.parametrize("name", ["", "a" * 33, "Big", "_a", "-a", "a b", "a/b", "é", "a\n"])
def test_names_are_short_plain_and_lower_case(name: str) -> None:
    with pytest.raises(TemplateError, match=r"^mine\.prompt: A template's name has 1 to 32"):
        parse(SENTIMENT, name)


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_no_template_has_a_subcommands_name(name: str) -> None:
    with pytest.raises(TemplateError, match="because a subcommand has that name"):
        parse(SENTIMENT, name)


@pytest.mark.parametrize(
    "text",
    [
        SENTIMENT,
        file("stop = []\nexample_separator = '\\n'\n" + ROW),
        file('separator = ""\nmultiline = false\n[sampling]\ntemperature = 1e-05\npreset = "wild"', "\n\n$$ ${input}"),
        file('model = "openai:a-1"'),
        file(f'markup = "transcript"\nstop = ["\\u0000", "\\"", "\\\\"]\n{ROW}', CHAT_BODY, kind="chat"),
        file('[[tests]]\ninput = "+++\\n\\t$input"\noutput = "a\\n+++\\nb"', "+++\n$input"),
    ],
)
def test_the_canonical_text_means_the_same(text: str) -> None:
    template = parse(text)
    canonical = format_template(template)
    assert parse(canonical) == template
    assert format_template(parse(canonical)) == canonical


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
ROWS = st.lists(st.builds(Example, TEXTS, TEXTS.map(str.strip).filter(bool)), max_size=3).map(tuple)


@given(
    instruction=st.text("ab $\n\t+é😀"),
    query=st.text("ab $\n\t+é😀"),
    examples=ROWS,
    tests=ROWS,
    separator=st.sampled_from(["", " ", "\t", ": "]),
    stop=st.lists(st.sampled_from(["x", '"', "\\", "\x00", "\n\n", "é"]), unique=True).map(tuple),
)
def test_any_template_survives_being_written_and_read(
    instruction: str,
    query: str,
    examples: tuple[Example, ...],
    tests: tuple[Example, ...],
    separator: str,
    stop: tuple[str, ...],
) -> None:
    template = PromptTemplate(
        name="mine",
        kind="complete",
        description="x",
        instruction=instruction.replace("$", "$$") + "\n",
        query="Q" + query.replace("$", "$$") + "$input:",
        has_examples_slot=True,
        examples=examples,
        tests=tests,
        separator=separator,
        is_multiline=True,
        stop=stop,
    )
    assert parse(format_template(template)) == template


@given(st.text(), st.text())
def test_no_text_raises_anything_but_a_template_error(front: str, body: str) -> None:
    for text in (front, f"+++\n{front}\n+++\n{body}", file(front, body), file(body=body), file(body=body, kind="chat")):
        with contextlib.suppress(TemplateError):
            parse(text)


TOML_VALUES = st.sampled_from(
    [
        '"a"',
        "1",
        "nan",
        "true",
        "[]",
        '["a", "b"]',
        "[1]",
        "{}",
        '{input = "a"}',
        "[{}]",
        '[{input = "a"}]',
        "1979-05-27",
    ]
)
TOML_KEYS = st.sampled_from(
    ["description", "kind", "labels", "separator", "example_separator", "multiline", "markup", "stop", "sampling"]
) | st.sampled_from(["examples", "tests", "sampling.temperature", "sampling.n", "sampling.preset", "x", '"a.b"'])


@given(
    st.dictionaries(TOML_KEYS, TOML_VALUES),
    st.sampled_from(["complete", "classify", "chat"]),
    st.lists(st.sampled_from(["$input", "$examples", "$history", "$bot_name:", "$$", "$", "x", ""])),
)
def test_no_wrong_type_raises_anything_but_a_template_error(
    values: dict[str, str], kind: str, lines: list[str]
) -> None:
    front = "\n".join(f"{key} = {value}" for key, value in {"kind": f'"{kind}"', **values}.items())
    with contextlib.suppress(TemplateError):
        parse(f"+++\n{front}\n+++\n" + "\n".join(lines))
