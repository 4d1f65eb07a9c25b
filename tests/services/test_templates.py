"""The folder of prompt files: read and checked as a whole when the bot starts."""

from pathlib import Path

import pytest

from bot.errors import FewshotError, RequestError, SetupError, TemplateError
from bot.services.templates import TemplateLibrary
from bot.settings import Settings
from tests.bots import PROMPTS, write_prompts

GOOD = PROMPTS["story"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_prompts(tmp_path / "prompts")


def test_the_files_of_a_folder_are_the_templates_in_order(folder: Path) -> None:
    (folder / "README.md").write_text("no template")
    (folder / "old.prompt~").write_text("no template")
    library = TemplateLibrary.read(folder)
    assert library.names == tuple(sorted(PROMPTS))
    assert [template.name for template in library] == sorted(PROMPTS)
    for name, text in PROMPTS.items():
        assert library.get(name).source_text == text


def test_the_version_changes_with_the_text_and_only_with_it(folder: Path) -> None:
    before = {template.name: template.version for template in TemplateLibrary.read(folder)}
    (folder / "story.prompt").write_text(GOOD.replace("A story about", "Tell of"))
    after = {template.name: template.version for template in TemplateLibrary.read(folder)}
    assert {name for name in before if before[name] != after[name]} == {"story"}
    assert len(set(before.values())) == len(before)


def test_windows_files_read_the_same(folder: Path) -> None:
    before = TemplateLibrary.read(folder).get("story")
    (folder / "story.prompt").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert TemplateLibrary.read(folder).get("story") == before


@pytest.mark.parametrize(
    ("name", "text", "start"),
    [
        ("bad", b"no front matter", "bad.prompt:1: "),
        ("bad", GOOD.replace("$input", "$inpt").encode(), "bad.prompt:6: There is no slot $inpt; did you mean $input?"),
        ("bad", GOOD.replace("description", "descriptoin").encode(), "bad.prompt:2: "),
        (
            "bad",
            GOOD.replace("= 10", "= 9999").encode(),
            "bad.prompt:4: max_new_tokens takes a whole number from 1 to 512",
        ),
        ("bad", b"", "bad.prompt:1: "),
        ("bad", GOOD.encode().replace(b"story", b"st\xf6ry", 1), "bad.prompt:2: This is not UTF-8 text."),
        ("bad", GOOD.encode() + b"\n\xff", "bad.prompt:9: This is not UTF-8 text."),
        ("list", GOOD.encode(), "list.prompt: No template can be named 'list'"),
        ("Bad Name", GOOD.encode(), "Bad Name.prompt: A template's name has 1 to 32 characters of a-z"),
    ],
)
def test_one_bad_file_stops_the_start_with_file_and_line(folder: Path, name: str, text: bytes, start: str) -> None:
    (folder / f"{name}.prompt").write_bytes(text)
    with pytest.raises(TemplateError) as caught:
        TemplateLibrary.read(folder)
    assert str(caught.value).startswith(start)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, FewshotError)


def test_an_empty_or_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SetupError) as caught:
            TemplateLibrary.read(folder)
        assert str(caught.value) == (
            f"There is no .prompt file in {folder}. Set PROMPTS_DIR to the folder of the templates."
        )


def test_what_can_not_be_read_is_one_sentence(folder: Path) -> None:
    (folder / "dir.prompt").mkdir()
    with pytest.raises(SetupError, match=r"can't be read: Is a directory\.$"):
        TemplateLibrary.read(folder)


def test_a_folder_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    folder = write_prompts(tmp_path / "prompts", {"story": GOOD})
    with pytest.raises(SetupError, match=r"is of kind chat\. Add one, so that the bot can chat\.$"):
        TemplateLibrary.read(folder)


def test_an_unknown_name_suggests_the_nearest_or_names_all(folder: Path) -> None:
    library = TemplateLibrary.read(folder)
    with pytest.raises(RequestError, match=r"^There is no template 'stor'; did you mean story\?$"):
        library.get("stor")
    with pytest.raises(RequestError, match="choose from chat, exact, pirate, sentiment, story, translate-en-fr"):
        library.get("zzzz")
    with pytest.raises(RequestError) as caught:
        library.get("z" * 9999)
    assert len(str(caught.value)) < 200


def test_the_prompts_that_come_with_the_bot_are_all_good() -> None:
    library = TemplateLibrary.read(Settings().prompts_dir)
    wanted = "chat fix-grammar headline question-answer recommend-movies sentiment story summarize synonyms"
    assert {*wanted.split(), "translate-en-fr"} <= set(library.names)
    assert {template.kind for template in library} == {"chat", "classify", "complete"}
    few_shot = {template.name for template in library if template.examples}
    zero_shot = {template.name for template in library if template.kind != "chat"} - few_shot
    assert few_shot & {name.removesuffix("-zero") for name in zero_shot}, "a few-shot template has a zero-shot twin"
