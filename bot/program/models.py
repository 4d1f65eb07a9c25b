"""`python -m bot model`: list, download and describe models."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from bot.engine.models.catalog import ModelChoice, list_models, resolve_model
from bot.errors import ModelError
from bot.program.opening import Choice, open_engine, prepare_model, pull, remote_choice
from bot.remote.choice import RemoteChoice, is_remote_name
from bot.settings import Settings
from bot.telling import say

ChoiceT = TypeVar("ChoiceT", ModelChoice, RemoteChoice)


def print_models(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the known and the downloaded models; return the exit status."""
    for model in list_models(settings.models_dir):
        absent = model.problem or f"not downloaded; available from the {model.source}"
        state = f"downloaded: {model.folder}" if model.facts else absent
        sys.stdout.write(f"{model.name:40} {state}\n")
    return 0


def pull_model(settings: Settings, arguments: argparse.Namespace) -> int:
    """Download a model and print its folder; return the exit status."""
    choice = _named(pull(arguments.model or settings.model, settings), arguments.model)
    say(choice.line)
    try:
        prepare_model(settings, choice)
    except ModelError as e:
        say(f"The model is downloaded, but can't be measured yet: {e}")
    sys.stdout.write(f"{choice.folder}\n")
    return 0


def _named(choice: ChoiceT, name: str | None) -> ChoiceT:
    """Return `choice` with its true reason where the command names the model: the setting does not matter then."""
    return replace(choice, reason="you named it") if name else choice


async def _open_info(settings: Settings, choice: Choice) -> dict[str, Any]:
    async with open_engine(settings, choice) as engine:
        info = engine.info
        if info.server:
            return {
                "name": info.name,
                "server": info.server,
                "context_length": info.context_length,
                "reason": choice.reason,
                "abilities": [asdict(one) for one in info.abilities],
            }
        return {
            "name": info.name,
            "folder": info.folder,
            "device": info.device,
            "precision": info.precision,
            "context_length": info.context_length,
            "num_parameters": info.num_parameters,
            "vocab_size": info.vocab_size,
            "model_type": info.model_type,
            "has_cache": info.has_cache,
            "has_chat_template": info.has_chat_template,
            "reason": choice.reason,
            "start_token": info.start_token,
            "precision_reason": info.precision_reason,
            "start_tokens": [asdict(one) for one in info.start_figures],
            "references": [asdict(one) for one in info.references],
            "precisions": [
                {**asdict(one), "is_admitted": one.is_admitted, "is_used": one.precision == info.precision}
                for one in info.precision_figures
            ],
            "notices": list(info.notices),
        }


def print_info(settings: Settings, arguments: argparse.Namespace) -> int:
    """Load a model and describe it; return the exit status."""
    name = arguments.model or settings.model
    choice: Choice
    if is_remote_name(name):
        choice = _named(remote_choice(settings, name), arguments.model)
    else:
        choice = _named(resolve_model(name, settings.models_dir), arguments.model)
    prepare_model(settings, choice)
    info = asyncio.run(_open_info(settings, choice))
    if arguments.json:
        sys.stdout.write(json.dumps(info) + "\n")
        return 0
    if "abilities" in info:
        sys.stdout.write(_table_of_abilities(info))
        return 0
    precisions, starts, notices = info.pop("precisions"), info.pop("start_tokens"), info.pop("notices")
    references = info.pop("references")
    info["start_token"] = _describe_start(info["start_token"], starts)
    if references:
        info["perplexity of"] = ", ".join(f"{one['kind']} {one['perplexity']:,.0f}" for one in references)
    sys.stdout.write("".join(f"{name:20} {value}\n" for name, value in info.items()))
    if precisions:
        sys.stdout.write(_table_of_precisions(precisions))
    sys.stdout.write("".join(f"{notice}\n" for notice in notices))
    return 0


def _table_of_abilities(info: dict[str, Any]) -> str:
    """Return the facts of a server's model, and what it was found to do."""
    abilities = info.pop("abilities")
    lines = [f"{name:26} {value}" for name, value in info.items()]
    for one in abilities:
        remark = f" ({one['remark']})" if one["remark"] else ""
        lines.append(f"{one['name']:26} {'yes' if one['is_there'] else 'no'}{remark}")
    return "\n".join(lines) + "\n"


def _describe_start(token: str | None, starts: Sequence[dict[str, Any]]) -> str:
    """Return what plain text is read after, with the bits per token of the test text after each candidate."""
    figures = ", ".join(f"{one['token'] or 'none'} {one['bits_per_token']:.2f}" for one in starts)
    return f"{token or 'none'}" + (f" (bits per token of a test text: {figures})" if figures else "")


def _table_of_precisions(precisions: Sequence[dict[str, Any]]) -> str:
    """Return a blank line and the table of the measured precisions."""
    lines = ["", "precision  perplexity  tokens/s  of 8 at once  prompt tokens/s"]
    for one in precisions:
        state = "used" if one["is_used"] else "admitted" if one["is_admitted"] else "not admitted by auto"
        if one["perplexity_ratio"] is None:
            lines.append(f"{one['precision']:10} not available: {one['problem']}")
        else:
            figures = (
                f"{one['perplexity_ratio']:10.4f} {one['tokens_per_s']:9.1f} "
                f"{one['tokens_per_s_of_8']:13.1f} {one['prefill_tokens_per_s']:16.1f}"
            )
            lines.append(f"{one['precision']:10} {figures}  {state}")
    lines.append("(perplexity: on a test text, divided by that of float32)")
    return "\n".join(lines) + "\n"
