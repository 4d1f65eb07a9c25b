import pytest

from bot.core.templates.forgetting import find_words, forget_words, longest_word, says_words, words_key, words_sha256
from bot.core.templates.parsing import MAX_TEMPLATE_BYTES, parse_template
from bot.core.templates.template import Example
from bot.errors import TemplateError

HEAD = 'description = "Answers."\n'


def file(*rows: str, table: str = "examples", head: str = HEAD, text: str = "Do it.") -> str:
    """Return a prompt file whose rows have these inputs, as TOML."""
    listed = "".join(f'[[{table}]]\ninput = {row}\noutput = "out {i}"\n' for i, row in enumerate(rows))
    return f"+++\n{head}{listed}+++\n{text}\n$examples\n> $input"


def without(text: str, *words: str) -> str:
    """Return the file that is left, checked to parse as it is."""
    left = forget_words(text, name="t", words={words_key(one) for one in words})
    assert left is not None
    assert parse_template(left.source_text, name="t", source="t") == left
    assert parse_template(left.source_text, name="t", source="t").version == left.version
    return left.source_text


def test_a_file_that_says_nothing_of_it_stays_as_it_is() -> None:
    text = file('"hello"', '"other"', head=f"# a comment\n{HEAD}")
    assert forget_words(text, name="t", words={"hell", "hello there my friend"}) is None


@pytest.mark.parametrize(
    "row",
    [
        '"I love this very much"',
        "'I love this very much'",
        '"I  love\\nthis very\\tmuch "',
        '"""\nI love\nthis very much"""',
        '"I lo\\u0076e this very much"',
    ],
)
def test_a_row_goes_however_it_is_written(row: str) -> None:
    left = without(file('"before"', row, '"after"'), "I love this very much")
    assert [example.input for example in parse_template(left, name="t", source="t").examples] == ["before", "after"]
    assert "love" not in left


def test_rows_go_from_the_tests_and_by_their_output_too() -> None:
    assert "abracadabra" not in without(file('"abracadabra"', '"other"', table="tests"), "abracadabra")
    template = parse_template(without(file('"one"', '"two"'), "out 0"), name="t", source="t")
    assert template.examples == (Example("two", "out 1"),)


def test_without_its_last_example_a_template_still_ends_answers_where_it_did() -> None:
    text = file('"abracadabra"')
    before = parse_template(text, name="t", source="t")
    after = parse_template(without(text, "abracadabra"), name="t", source="t")
    assert (after.examples, after.has_examples_slot, after.stop) == ((), True, before.stop) == ((), True, ("\n",))


def test_longer_words_go_from_comments_and_the_text_too() -> None:
    words = "I paid $5 for $input, ok?"
    text = file(
        f'"{words}"',
        head=f'# input = "{words}"\ndescription = "As in: {words}"\n',
        text="Like: I paid $$5\nfor $$input, ok? Yes.",
    )
    left = without(text, words)
    assert "paid" not in left
    assert "Like: … Yes." in left
    assert '"As in: …"' in left
    commented = file('"other"', head=f'{HEAD}# input = "{words}"\n')
    assert "paid" not in without(commented, words)


def test_short_words_stay_where_they_may_stand_by_chance() -> None:
    left = without(file('"hi"', '"other"', text="Say hi to this."), "hi")
    assert "Say hi to this." in left
    assert '"hi"' not in left


def test_a_slot_is_never_taken_for_words() -> None:
    for words in ("$input", "> $input", "$examples", "+++"):
        left = without(file(f'"{words}"', '"abcdefghijkl > $input"'), words, "abcdefghijkl > $input")
        assert left.endswith("\n$examples\n> $input\n")


def test_what_is_no_template_is_reported_only_when_it_says_the_words() -> None:
    broken = '+++\nkind = "nonsense"\n[[examples]]\ninput = "say \\"abra\\ncadabra\\""\n+++\n'
    assert forget_words(broken, name="t", words={"hocuspocus"}) is None
    with pytest.raises(TemplateError):
        forget_words(broken, name="t", words={'say "abra cadabra"'})


def test_a_file_that_would_grow_too_long_is_reported() -> None:
    rows = '"""' + "\n" * (MAX_TEMPLATE_BYTES - 300) + 'x"""'
    with pytest.raises(TemplateError, match="at most 65,536 bytes"):
        forget_words(file(rows, '"abracadabra"'), name="t", words={"abracadabra"})


def test_words_are_found_by_their_check_sums() -> None:
    sha256s = {words_sha256("abra  cadabra\n"), words_sha256("out 1"), words_sha256("unknown")}
    assert find_words(file('"abra cadabra"', '"x"'), name="t", sha256s=sha256s) == {"abra cadabra", "out 1"}
    assert find_words("no template", name="t", sha256s=sha256s) == set()
    assert words_sha256("a\ud800") == words_sha256("a\ud800")


@pytest.mark.parametrize(
    ("text", "words", "is_said"),
    [
        ("query = 'Abra, cadabra!'", "abra cadabra", True),
        ("C:\\new", "C:\\new", True),
        ('"C:\\\\new"', "C:\\new", True),
        ("x 🙂 y", "🙂", True),
        ("x y", "🙂", False),
        ("abra", "abracadabra", False),
    ],
)
def test_words_are_known_in_what_was_typed(text: str, words: str, is_said: bool) -> None:
    assert says_words(text, words) is is_said


def test_the_longest_word_stands_in_a_file_as_it_is() -> None:
    assert longest_word('it\'s "héllo\\there" x_y') == "héllo"
    assert longest_word("🙂 …") == ""
