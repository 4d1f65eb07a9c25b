"""The models that MODEL and MODELS name: found, measured before the event loop starts, and counted in memory."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from bot.core.watch import Watch
from bot.engine.footprint import count_bytes
from bot.engine.models.model_folder import check_model_folder
from bot.errors import SetupError
from bot.program.opening import Choice, choose_model, open_engine, prepare_model
from bot.remote.choice import RemoteChoice
from bot.remote.kept import read_abilities
from bot.services.models import ModelOffer, Offers
from bot.settings import Settings

_MIB: Final = 2**20
_SERVER_WAIT_S: Final = 5.0  # somebody waits for the answer


def choose_models(settings: Settings) -> tuple[Choice, ...]:
    """Return the model that MODEL names, then the others of MODELS; download what is missing. Raises ModelError."""
    choices = {(first := choose_model(settings)).name: first}
    for name in settings.models:
        choice = choose_model(replace(settings, model=name))
        choices.setdefault(choice.name, replace(choice, reason="MODELS names it"))
    return tuple(choices.values())


def prepare_models(settings: Settings, choices: Sequence[Choice], watch: Watch | None = None) -> Offers:
    """Measure each of the models if that is not done yet, and return the others than the first as offers.

    `watch` hears of their answers. Raises SetupError if one does not fit into MODELS_MEMORY_MB beside the
    first.
    """
    precisions = [prepare_model(settings, choice) for choice in choices]
    first, *others = (_offer(settings, *pair, watch) for pair in zip(choices, precisions, strict=True))
    max_bytes = settings.models_memory_mb * _MIB - first.num_bytes
    largest = max(others, key=lambda one: one.num_bytes, default=None)
    if largest is None:
        return Offers()
    if settings.models_memory_mb == 0:
        max_bytes = largest.num_bytes
    elif largest.num_bytes > max_bytes:
        raise SetupError(
            f"{largest.name} needs {_megabytes(largest.num_bytes)} of memory beside {first.name}, which needs"
            f" {_megabytes(first.num_bytes)}, but MODELS_MEMORY_MB is {settings.models_memory_mb:,} MiB. Raise it to"
            f" {_megabytes(first.num_bytes + largest.num_bytes)}, lower KV_CACHE_MB, or take {largest.name} out of"
            " MODELS."
        )
    return Offers(tuple(others), max_bytes=max_bytes, default_bytes=first.num_bytes, default_name=first.name)


def _offer(settings: Settings, choice: Choice, precision: str, watch: Watch | None) -> ModelOffer:
    opens = partial(open_engine, settings, choice, server_wait_s=_SERVER_WAIT_S, watch=watch)
    if isinstance(choice, RemoteChoice):
        known = read_abilities(choice, None)
        reads_pictures = known is not None and known.reads_pictures
        return ModelOffer(choice.name, opens, own_name=choice.model, host=choice.host, reads_pictures=reads_pictures)
    facts = check_model_folder(choice.folder)
    num_bytes = count_bytes(facts.num_parameters, precision=precision, kv_cache_mb=settings.kv_cache_mb)
    return ModelOffer(choice.name, opens, num_bytes, facts.context_length, facts.num_parameters)


def _megabytes(num_bytes: int) -> str:
    return f"{-(-num_bytes // _MIB):,} MiB"
