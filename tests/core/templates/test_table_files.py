"""Files with rows, as spreadsheets and scripts write them, read as examples or as inputs."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.templates.table_files import read_examples, read_inputs
from bot.errors import RequestError

NOT_TWO = "The file does not have two columns. Name two of them input and output in its first line."
NOT_JSON = 'each line is a JSON object such as {"input": "…", "output": "…"}.'
CAT = [("a cat", "Katze"), ("a dog", "Hund")]


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("csv", "a cat,Katze\na dog,Hund\n"),
        ("csv", "input,output\na cat,Katze\na dog,Hund"),
        ("csv", "\ufeffOutput , Input\r\nKatze,a cat\r\n\r\nHund,a dog\r\n"),
        ("csv", "id;text;label;by\n1;a cat;Katze;Ann\n2;a dog;Hund;Bob\n"),
        ("csv", '"a cat","Katze"\n"a dog" ,"Hund"\n'.replace('" ,', '",')),
        ("csv", "a cat\tKatze\na dog\tHund\n"),
        ("csv", "\n , \na cat,Katze\na dog,Hund\n,\n"),
        ("tsv", "a cat\tKatze\na dog\tHund\n"),
        ("tsv", "sentence\tanswer\na cat\tKatze\n\na dog\tHund"),
        ("jsonl", '{"input": "a cat", "output": "Katze"}\n{"output": "Hund", "input": "a dog"}\n'),
        ("jsonl", '\ufeff{"id": 1, "text": "a cat", "label": "Katze"}\n\n{"text": "a dog", "label": "Hund"}'),
    ],
)
def test_examples_are_found_by_the_names_of_columns_or_as_two_columns(format: Any, text: str) -> None:
    assert [(row.input, row.output) for row in read_examples(text, format)] == CAT


def test_a_cell_holds_quotes_commas_and_line_breaks() -> None:
    text = 'input,output\n"Say ""hi"",\nplease","a\r\nb"\n'
    (row,) = read_examples(text, "csv")
    assert (row.input, row.output) == ('Say "hi",\nplease', "a\r\nb")
    (row,) = read_examples('he said "no"\tHe refused\n', "tsv")
    assert row.input == 'he said "no"'


_CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n"), min_size=1).filter(
    lambda cell: bool(cell.strip())
)


@given(st.lists(st.tuples(_CELLS, _CELLS), min_size=1, max_size=5), st.sampled_from(["csv", "tsv", "jsonl"]))
def test_what_a_program_writes_is_read_back(rows: list[tuple[str, str]], format: Any) -> None:
    out = io.StringIO()
    if format == "jsonl":
        out.writelines(json.dumps({"input": row[0], "output": row[1]}) + "\n" for row in rows)
    else:
        writer = csv.writer(out, delimiter="\t" if format == "tsv" else ",")
        writer.writerows([("input", "output"), *rows])
    found = [(row.input, row.output) for row in read_examples(out.getvalue(), format)]
    assert found == [(first.strip(), second.strip()) for first, second in rows]


def test_with_labels_a_first_line_of_any_names_is_told_from_a_row() -> None:
    text = "tweet,mood\nlovely,Positive\nawful,Negative\n"
    rows = read_examples(text, "csv", labels=("Positive", "Negative"))
    assert [row.input for row in rows] == ["lovely", "awful"]
    assert len(read_examples(text, "csv")) == 3


@pytest.mark.parametrize(
    ("format", "text", "sentence"),
    [
        ("csv", "", "The file has no rows."),
        ("csv", "input,output\n", "The file has no rows."),
        ("csv", "a,b,c\n1,2,3\n", "The file has the columns 'a', 'b' and 'c'. Name the two to use input and output."),
        ("csv", "text\nx\n", "The file has the column 'text'. Name the two to use input and output."),
        (
            "csv",
            "only one\nx\n",
            "The file does not have two columns. Name two of them input and output in its first line.",
        ),
        ("csv", "input,output\nx,\n", "Line 2 has no output."),
        ("csv", 'input,output\n"two\nlines",Positive\n,b\n', "Line 4 has no input."),
        (
            "csv",
            'input,output\n"open,b\n',
            'Line 2 has a quotation mark in the wrong place. Write it twice inside a quoted cell: "say ""yes""".',
        ),
        (
            "csv",
            "lovely,Positive\nawful,Negatve\n",
            "Line 2 has the output 'Negatve', which is not a label; did you mean Negative?",
        ),
        ("jsonl", "{\n", f"Line 1 is not JSON; {NOT_JSON}"),
        (
            "jsonl",
            '{"input": "a", "output": "Positive"}\n[1]\n',
            f"Line 2 is neither a JSON object nor a JSON string; {NOT_JSON}",
        ),
        (
            "jsonl",
            "[" * 100_000,
            f"Line 1 is not JSON; {NOT_JSON}",
        ),
    ],
)
def test_a_wrong_file_gets_one_sentence(format: Any, text: str, sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_examples(text, format, labels=("Positive", "Negative"))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("format", "text", "field", "inputs"),
    [
        ("csv", "one\ntwo\n", None, ["one", "two"]),
        ("csv", "review\none\n\ntwo\n", None, ["one", "two"]),
        ("csv", "id,review,by\n1,one,Ann\n2,,Bob\n3,two\n4\n", None, ["one", "two"]),
        ("csv", "id,tweet\n1,one\n2,two\n", "Tweet", ["one", "two"]),
        ("csv", "tweet\none\ntwo\n", "tweet", ["one", "two"]),
        ("csv", "label,text\nx,one\ny,two\n", "label", ["x", "y"]),
        ("tsv", "text\tlabel\none\tx\ntwo\ty\n", None, ["one", "two"]),
        ("jsonl", '"one"\n"two"\n', None, ["one", "two"]),
        ("jsonl", '{"title": "one"}\n{"title": "two"}\n', None, ["one", "two"]),
        ("jsonl", '{"id": 1, "body": "one"}\n{"id": 2, "body": "two"}\n{"id": 3}\n', "body", ["one", "two"]),
        ("jsonl", '{"id": 1}\n{"id": 22}\n', "id", ["1", "22"]),
    ],
)
def test_inputs_are_one_column_or_field(format: Any, text: str, field: str | None, inputs: list[str]) -> None:
    assert list(read_inputs(text, format, field=field)) == inputs


@pytest.mark.parametrize(
    ("format", "text", "field", "sentence"),
    [
        ("csv", "id,body\n1,one\n", None, "The file has 2 columns. Name them in its first line, one of them input."),
        (
            "csv",
            "id,body,by\n1,one,Ann\n",
            None,
            "The file has the columns 'id', 'body' and 'by'. Choose one with the option field.",
        ),
        ("csv", "text,by\none,Ann\n", "txt", "There is no column 'txt'; did you mean text?"),
        ("csv", "text,by\none,Ann\n", "xyzzy", "There is no column 'xyzzy'; the file has the columns 'text' and 'by'."),
        ("csv", "one\ntwo\n", "text", "The first line of the file does not name its columns, so there is no 'text'."),
        (
            "jsonl",
            '{"a": "x", "b": "y"}\n',
            None,
            "The file has the columns 'a' and 'b'. Choose one with the option field.",
        ),
    ],
)
def test_a_column_that_can_t_be_found_gets_one_sentence(
    format: Any, text: str, field: str | None, sentence: str
) -> None:
    with pytest.raises(RequestError) as caught:
        read_inputs(text, format, field=field)
    assert str(caught.value) == sentence


@given(st.text(max_size=80), st.sampled_from(["csv", "tsv", "jsonl"]))
def test_whatever_a_file_holds_is_rows_or_one_sentence(text: str, format: Any) -> None:
    for read in (read_examples, read_inputs):
        sentence = ""
        try:
            read(text, format)
        except RequestError as e:
            sentence = str(e)
        assert "\n" not in sentence
        assert len(sentence) < 400
