"""The page's files: what they refer to is there, comes from this machine, and is allowed by the security policy."""

import re
import tomllib
from pathlib import Path
from typing import Final

STATIC: Final = Path(__file__).resolve().parents[3] / "bot" / "platforms" / "web" / "static"
INDEX: Final = (STATIC / "index.html").read_text(encoding="utf-8")
# Not those of types, which are in comments.
_IMPORT: Final = re.compile(r'^(?:import|\}) .*from "(\.[^"]+)";$', re.MULTILINE)
FILES: Final = sorted(path for path in STATIC.rglob("*") if path.is_file())


def test_the_index_has_nothing_inline() -> None:
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", INDEX)
    assert re.findall(r"<script[^>]*>([^<]*)</script>", INDEX) == [""]


def test_everything_that_the_page_loads_is_there_and_everything_there_is_loaded() -> None:
    loaded = {STATIC / "index.html"}
    waiting = [STATIC / one for one in re.findall(r'(?:href|src)="/static/([^"]+)"', INDEX)]
    while waiting:
        path = waiting.pop()
        if path in loaded:
            continue
        assert path.is_file(), path
        loaded.add(path)
        if path.suffix == ".js":
            text = path.read_text(encoding="utf-8")
            waiting += [(path.parent / one).resolve() for one in _IMPORT.findall(text)]
    # Types only: the checker reads them, no browser does.
    assert set(FILES) - loaded == {STATIC / "wire" / "types.js"}


def test_nothing_comes_from_elsewhere() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import url|//cdn", text), path


def test_no_text_becomes_markup_or_code() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        found = re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc", text)
        assert found is None, (path, found)
        assert 'setAttribute("style"' not in text, path


def test_all_files_are_installed_with_the_package() -> None:
    root = STATIC.parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["bot.platforms.web"]
    installed = {path for one in patterns for path in STATIC.parent.glob(f"{one}/*" if one.endswith("**") else one)}
    assert set(FILES) <= installed
