"""What `--version` says."""

import platform
from pathlib import Path

import pytest

from bot.program.version import UNKNOWN, describe_versions, find_commit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "project" / "bot"
    folder.mkdir(parents=True)
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_commit_is_read_from_the_branch_or_from_the_packed_ones(package: Path) -> None:
    git = package.parent / ".git"
    write(git / "HEAD", "ref: refs/heads/main\n")
    write(git / "packed-refs", f"# pack-refs with: peeled\n{'f' * 40} refs/heads/other\n{COMMIT} refs/heads/main\n")
    assert find_commit(package) == COMMIT
    write(git / "refs" / "heads" / "main", f"{'a' * 40}\n")
    assert find_commit(package) == "a" * 40


def test_the_commit_of_a_checked_out_commit_and_of_a_further_working_tree_is_found(
    package: Path, tmp_path: Path
) -> None:
    main = tmp_path / "main" / ".git"
    write(package.parent / ".git", f"gitdir: {main}/worktrees/here\n")
    write(main / "worktrees" / "here" / "HEAD", f"{COMMIT}\n")
    assert find_commit(package) == COMMIT
    write(main / "worktrees" / "here" / "HEAD", "ref: refs/heads/here\n")
    write(main / "worktrees" / "here" / "commondir", "../..\n")
    write(main / "refs" / "heads" / "here", f"{'b' * 40}\n")
    assert find_commit(package) == "b" * 40


def test_a_build_without_git_says_what_was_written_into_it(package: Path) -> None:
    write(package / "COMMIT", f"{COMMIT}\n")
    assert find_commit(package) == COMMIT


@pytest.mark.parametrize("head", [None, "ref: refs/heads/none\n", "rubbish\n"])
def test_a_commit_that_is_not_known_is_unknown(package: Path, head: str | None) -> None:
    if head is not None:
        write(package.parent / ".git" / "HEAD", head)
    assert find_commit(package) == UNKNOWN


def test_the_versions_name_the_models_of_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("MODEL", "openai:some-model")
    monkeypatch.setenv("MODELS", "gpt2-xl,openai:some-model")
    lines = describe_versions().splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["Fewshot", "commit", "Python", "torch", "models"]
    assert lines[2] == f"Python {platform.python_version()}"
    assert lines[4] == "models openai:some-model, gpt2-xl (not downloaded)"
    monkeypatch.setenv("WEB_PORT", "x")
    assert describe_versions().splitlines()[4].startswith("models unknown: WEB_PORT takes a whole number")
