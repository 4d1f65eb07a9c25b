"""The piped terminal as a separate program: answers in order, JSON for scripts, errors."""

import re
import shutil
import signal
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from bot.core.results import StartFigures
from bot.engine.references.record import write_references
from bot.engine.start_token.record import write_start_figures
from tests import tiny_models
from tests.platforms.programs import Program

START_TOKENS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", None]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_models.make_tiny_llama(tmp_path_factory.mktemp("model"), context_length=1024)
    write_start_figures(folder, None, [StartFigures(token, 9.0) for token in START_TOKENS])  # as after a first start
    write_references(folder, None, ())
    return folder


@pytest.fixture
def program(tmp_path: Path, model: Path) -> Program:
    return Program(tmp_path, model)


def test_each_line_is_answered_in_order_and_the_program_ends_with_status_0(program: Program) -> None:
    finished = replace(program, is_preloaded=False).run(
        "terminal", typed=b"!prompt list\n\n   \n!settings\n!context\nhello"
    )
    assert finished.status == 0
    assert (
        finished.out.index("sentiment")
        < finished.out.index("chat_template")
        < finished.out.index("nothing here to read")
    )
    assert finished.err.startswith("Model: ")
    assert finished.err.count("\n") == 1


def test_json_gives_one_object_for_each_line_that_is_not_empty(program: Program) -> None:
    lines = [
        b"hello there",
        b"",
        b"!perplexity Can it do that?",
        b"!next Can it",
        b"!complete --seed 3 Can it",
        b"2",
        b"!prompt sentiment I like it",
        b"!compare a cat | a dog",
        b"!nonsense",
        b"!perplexity",
        b"\xff\xfe broken",
        b"   ",
        b"!stats",
    ]
    finished = program.run("terminal", "--json", typed=b"\n".join(lines) + b"\n")
    assert finished.status == 0
    objects = finished.objects
    assert [o["command"] for o in objects] == [
        "chat",
        "perplexity",
        "next",
        "complete",
        "complete",
        "prompt run",
        "compare",
        "nonsense",
        "perplexity",
        "chat",
        "stats",
    ]
    assert all(isinstance(o["text"], str) for o in objects)
    assert [bool(o.get("error")) for o in objects] == [False] * 7 + [True] * 3 + [False]
    assert all("\n" not in o["error"] for o in objects if "error" in o)
    _, perplexity, following, complete, taken, classified, compared, *_ = objects
    assert {"perplexity", "bits_per_byte", "num_tokens"} <= perplexity.keys()
    assert len(perplexity["tokens"]) == perplexity["num_tokens"]
    assert all(set(token) == {"text", "start", "end", "logprob", "rank", "expected"} for token in perplexity["tokens"])
    assert all(set(word) == {"text", "surprisal_bits"} for word in perplexity["words"])
    assert compared["text"].startswith(compared["verdict"])
    assert "bits per byte" in compared["text"], "the whole answer, not only its verdict"
    assert sum(word["probability"] for word in following["words"]) <= 1 + 1e-6
    assert len(complete["choices"]) == 3
    assert {"text", "logprob", "finish_reason"} <= complete["choices"][0].keys()
    assert complete["seed"] == 3
    assert taken["prompt"] == "Can it" + complete["choices"][1]["text"]
    assert sum(classified["probabilities"].values()) == pytest.approx(1)
    assert classified["label"] in classified["probabilities"]


def test_one_question_is_answered_and_the_program_ends(program: Program) -> None:
    text = program.run("terminal", "-p", "!prompt list", typed=b"!stats\n")
    assert text.status == 0
    assert "sentiment" in text.out
    assert "tokens/s" not in text.out, "standard input is not read"
    told = program.run("terminal", "--json", "-p", "!next")
    assert (told.status, told.objects[0]["error"]) == (1, "The text is missing. Write !next TEXT.")
    (answer,) = program.run("terminal", "-p", "Hello", "--json").objects
    assert answer["command"] == "chat"
    wrong = program.run("terminal", "-p", "!nonsense")
    assert (wrong.status, wrong.out) == (1, "")
    assert wrong.err.splitlines()[-1] == "There is no command 'nonsense'; !help lists all commands."
    empty = program.run("terminal", "-p", "")
    assert (empty.status, empty.err.splitlines()[-1]) == (1, "There was no text. Type a message, or try !help.")


def test_the_version_is_told_without_a_model(program: Program) -> None:
    finished = Program(program.home, Path("/nowhere")).run("--version")
    assert finished.status == 0
    assert re.match(r"Fewshot \d+\.\d+\.\d+\S*\ncommit \S+\nPython 3\.\S+\ntorch \S+\nmodels /nowhere", finished.out)


def test_yes_on_the_next_line_answers_a_question(program: Program) -> None:
    *_, done = program.ask(
        "!prompt tests sentiment add Fine => Positive", "!prompt publish sentiment", "!prompt delete sentiment", "yes"
    )
    assert done["text"] == "sentiment is deleted; the built-in version is back."


def test_a_line_of_a_megabyte_is_one_sentence_and_the_next_line_works(program: Program) -> None:
    finished = program.run("terminal", "--json", typed=b"x" * 2**20 + b"\n" + b"y" * 2**23 + b"\n!prompt list\n")
    too_long, far_too_long, listed = finished.objects
    assert "1,048,576 bytes" in too_long["error"]
    assert "bytes; the limit is 262,144." in far_too_long["error"]
    assert "templates" in listed


def test_earlier_messages_are_in_the_prompt_after_a_restart_and_not_after_fresh(program: Program) -> None:
    program.ask("my cat is called Miaou")
    (_, why) = program.ask("what now?", "!why")
    assert "my cat is called Miaou" in why["prompt"]
    assert why["is_exact"]
    *_, why = program.ask("!fresh", "and now?", "!why")
    assert "Miaou" not in why["prompt"]
    assert "and now?" in why["prompt"]


def test_channels_and_servers_are_apart(program: Program) -> None:
    program.run("terminal", "--channel", "a", "--server", "one", typed=b"the secret word is plum\n")
    for place in (["--channel", "b", "--server", "one"], ["--channel", "a", "--server", "two"]):
        finished = program.run("terminal", "--json", *place, typed=b"hello\n!why\n")
        assert "plum" not in finished.objects[1]["prompt"]


def test_a_member_may_not_change_settings(program: Program) -> None:
    finished = program.run("terminal", "--json", "--role", "member", typed=b"!settings preset wild\n")
    assert finished.objects[0]["error"] == "Only moderators can use !settings."


def test_ctrl_c_ends_a_piped_program_with_status_130(program: Program) -> None:
    with program.start("terminal", "--json") as process:
        try:
            process.stdin.write(b"!prompt list\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            assert process.stdout.readline()  # type: ignore[union-attr]
            process.send_signal(signal.SIGINT)
            process.stdin.write(b"!prompt list\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            _, err = process.communicate(timeout=180)
        finally:
            process.kill()
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_a_kill_during_an_answer_loses_nothing_that_was_acknowledged(program: Program) -> None:
    with program.start("terminal", "--json") as process:
        try:
            process.stdin.write(b"first message\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            first = process.stdout.readline()  # type: ignore[union-attr]
            process.stdin.write(b"second message\n" + b"!complete --max_new_tokens 500 --n 5 long\n" * 5)  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            process.stdout.readline()  # type: ignore[union-attr]
        finally:
            process.kill()
            process.wait()
    assert b'"chat"' in first
    with sqlite3.connect(program.database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    _, why = program.ask("third message", "!why")
    assert "first message" in why["prompt"]
    assert "second message" in why["prompt"]


def test_nobody_reading_the_answers_is_no_traceback(program: Program) -> None:
    with program.start("terminal", "--json") as process:
        try:
            process.stdout.close()  # type: ignore[union-attr]
            process.stdout = None
            _, err = process.communicate(b"!prompt list\n!prompt list\n", timeout=180)
        finally:
            process.kill()
    assert b"Traceback" not in err
    assert b"Exception" not in err


MISTAKES = {
    "a model that does not exist": ({"MODEL": "gtp2"}, "did you mean gpt2?"),
    "a model folder that is not there": ({"MODEL": "/nowhere/at/all"}, "/nowhere/at/all"),
    "a device that is not there": ({"DEVICE": "cuda:7"}, "cuda"),
    "a device that does not exist": ({"DEVICE": "toaster"}, "toaster"),
    "a precision that is not offered": ({"PRECISION": "int3"}, "float32"),
    "a number that is none": ({"MAX_WAITING": "many"}, "MAX_WAITING takes a whole number"),
    "a log level that tells too much": ({"LOG_LEVEL": "DEBUG"}, "LOG_LEVEL takes one of INFO, WARNING, ERROR"),
    "a prompts folder without prompts": ({"PROMPTS_DIR": "/"}, "Set PROMPTS_DIR to the folder"),
    "a database that is a folder": ({"DATABASE": "/"}, "/"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_error_of_the_operator_is_one_sentence_and_status_2(program: Program, mistake: str) -> None:
    environment, part = MISTAKES[mistake]
    finished = Program(program.home, program.model, environment).run("terminal", typed=b"hello\n")
    assert finished.status == 2
    assert finished.out == ""
    sentence = finished.err.strip().splitlines()[-1]
    assert part in sentence
    assert "Traceback" not in finished.err
    assert len(finished.err.strip().splitlines()) <= 2


def test_a_broken_prompt_file_stops_the_start_with_its_file_and_line(program: Program, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "odd.prompt").write_text('+++\ndescription = "x"\nkind = "compleet"\n+++\n$input\n')
    finished = Program(program.home, program.model, {"PROMPTS_DIR": str(prompts)}).run("terminal", typed=b"hello\n")
    assert finished.status == 2
    assert finished.err.startswith("odd.prompt:3: ")
    assert "complete" in finished.err
    assert finished.err.count("\n") == 1


def test_a_file_that_is_not_a_database_is_one_sentence_and_stays_unchanged(program: Program) -> None:
    program.database.write_bytes(b"this is a letter to grandmother, not a database\n" * 100)
    finished = program.run("terminal", typed=b"hello\n")
    assert finished.status == 2
    assert "Traceback" not in finished.err
    kept = [path.read_bytes() for path in program.home.glob("fewshot.db*")]
    assert any(b"grandmother" in data for data in kept)


def test_model_info_tells_scripts_what_runs(program: Program) -> None:
    finished = program.run("model", "info", "--json")
    (info,) = finished.objects
    assert info["folder"] == str(program.model)
    assert info["device"] == "cpu"
    assert info["precision"] == "float32"
    assert info["start_token"] == "<|im_start|>"
    assert [one["token"] for one in info["start_tokens"]] == START_TOKENS
    assert info["context_length"] == 1024
    assert info["num_parameters"] > 0


def test_the_first_start_says_that_it_measures_what_plain_text_is_read_after(program: Program, tmp_path: Path) -> None:
    fresh = Path(shutil.copytree(program.model, tmp_path / "fresh"))
    (fresh / "start_token.json").unlink()
    finished = Program(program.home, fresh).run("model", "info")
    assert f"Measuring the start token of {fresh} …" in finished.err
    assert f"{fresh} reads plain text after <|im_start|>: " in finished.err
    (line,) = [line for line in finished.out.splitlines() if line.startswith("start_token ")]
    assert line.split(maxsplit=1)[1].startswith("<|im_start|> (bits per token of a test text: <|im_start|> ")
    assert "Measuring" not in Program(program.home, fresh).run("model", "info").err


def test_model_list_names_every_known_model(program: Program) -> None:
    finished = program.run("model", "list")
    assert finished.status == 0
    for name in ("gpt2", "gpt2-xl", "openai-community/openai-gpt", "smollm2-135m"):
        assert name in finished.out


def test_a_template_is_exported_and_imported_as_a_file(program: Program, tmp_path: Path) -> None:
    text = program.run("terminal", typed=b"!prompt export story\n").out
    exported = tmp_path / "my tale.prompt"
    exported.write_text(text, encoding="utf-8")
    no_editor, shown, done, described, *others = program.ask(
        "!prompt edit story",
        f'!prompt import tale --file "{exported}"',
        "!prompt publish tale",
        "!prompt show tale",
        f"!prompt import tale --file {tmp_path}/nothing.prompt",
        f'!perplexity --file "{exported}"',
    )
    assert "!prompt import story --file PATH" in no_editor["error"]
    assert shown["problem"] == ""
    assert done["number"] == 1
    assert described["source"] == text
    assert others[0]["error"] == f"The file {tmp_path}/nothing.prompt can't be read: No such file or directory."
    assert others[1]["num_tokens"] > 10


def test_a_file_may_stand_anywhere_before_the_text_and_a_bad_one_names_its_command(
    program: Program, tmp_path: Path
) -> None:
    table = tmp_path / "reviews.csv"
    table.write_text("id,review\n1,I like it\n2,I hate it\n", encoding="utf-8-sig")
    answers = program.ask(
        f"!prompt sentiment --file {table} --field review",
        f"!prompt run sentiment --file={table}",
        f"/perplexity --file '{table}'",
        f"!complete --n 1 --file {tmp_path}/nothing",
        f"!perplexity --file {table} and text",
        f"!help --file {table}",
        f"!complet --file {table}",
        f"!prompt --file {table}",
        f"!perplexity The flag --file {table}",
        "!prompt import tale nonsense",
    )
    assert [row["input"] for row in answers[0]["rows"]] == ["I like it", "I hate it"]
    assert len(answers[1]["rows"]) == 2
    assert answers[2]["input"].startswith("id,review")
    assert [(answer["command"], answer.get("error")) for answer in answers[3:]] == [
        ("complete", f"The file {tmp_path}/nothing can't be read: No such file or directory."),
        ("perplexity", "!perplexity takes a text or a file, not both."),
        ("help", "!help reads no file."),
        ("complet", "There is no command 'complet'; did you mean !complete?"),
        ("prompt", answers[7]["error"]),
        ("perplexity", None),
        ("prompt import", "Line 1 of the file: The first line must be exactly +++."),
    ]
