"""`METRICS_PORT` and `python -m bot health` as an operator uses them."""

import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.errors import SetupError
from bot.program.monitor import hold_metrics_port
from bot.settings import Settings
from tests.platforms.programs import Program


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def test_a_running_bot_is_watched_and_asked(tmp_path: Path, roomy_model: Callable[[str], Path]) -> None:
    port = free_port()
    program = Program(
        tmp_path,
        roomy_model("gpt2"),
        {"METRICS_PORT": str(port), "WEB_PORT": "0", "BACKUP_EVERY_H": "24", "LOG_LEVEL": "INFO"},
    )
    with program.start("web", "--no-open") as bot:
        assert bot.stderr is not None
        told = b""
        while b"/metrics" not in told:
            line = bot.stderr.readline()
            assert line, told
            told += line
        assert f"Figures for Prometheus: http://127.0.0.1:{port}/metrics\n".encode() in told
        while b"a backup was written" not in told:
            told += bot.stderr.readline()
        health = program.run("health")
        assert (health.status, health.out) == (0, "All is well.\n")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            text = response.read().decode()
        assert "fewshot_backup_age_seconds" in text
        assert 'fewshot_asked_total{command="chat",outcome="failed",platform="web"} 0.0' in text
        asked_by_name = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(asked_by_name, timeout=10)
        assert refused.value.code == 403
        refused.value.close()
        bot.send_signal(signal.SIGTERM)
        bot.communicate(timeout=60)
    assert bot.returncode == 0
    assert len(list((tmp_path / "backups").glob("fewshot.db.backup-*Z"))) == 1
    health = program.run("health")
    assert health.status == 1
    assert health.out == f"No bot runs at 127.0.0.1, port {port}: start it, or check METRICS_PORT.\n"


def test_without_a_port_there_is_nobody_to_ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("METRICS_PORT", raising=False)
    assert main(["health"]) == 2
    assert capsys.readouterr().err == (
        "METRICS_PORT is not set to a port, so there is no address at which to ask the bot; set it.\n"
    )


def test_a_port_in_use_is_one_sentence() -> None:
    assert hold_metrics_port(Settings()) is None
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with pytest.raises(SetupError, match=rf"Port {port} is in use. Set METRICS_PORT to another one."):
            hold_metrics_port(Settings(metrics_port=port))


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bot.monitoring.server", None)
    with pytest.raises(SetupError, match=r"METRICS_PORT needs packages that are not installed. Install them with: "):
        hold_metrics_port(Settings(metrics_port=0))
