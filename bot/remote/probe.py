"""What a server really does with a model: measured by short requests at the start, never assumed from its name."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from bot.errors import FewshotError, SetupError
from bot.remote.abilities import OPTION_NAMES, THINKING_TOKENS, Abilities
from bot.remote.answers import Piece, pieces_of, usage_of
from bot.remote.bodies import picture_part
from bot.remote.counting import count_of
from bot.remote.failures import ServerFailure
from bot.remote.probe_pictures import COLOUR_QUESTION, PICTURES, names_colour
from bot.remote.probe_scores import measure_scores
from bot.remote.server import CHAT, COMPLETIONS, Body, Server, next_pause

MAX_S: Final = 180.0
_PATIENT_S: Final = 45.0
_ASK_S: Final = 30.0
_MAX_PAUSES: Final = 3  # of a server that fails at one thing only
_TELL_EVERY_S: Final = 3.0
_TEXT: Final = "Here is a list of random words: apple, river,"
_CHAT_TEXT: Final = "Write eight random English words."
_BEGUN: Final = "One, two, three,"
_NUM_TOKENS: Final = 12
# Enough for some thinking aloud; who answers with one word stops after it.
_NUM_PICTURE_TOKENS: Final = 256
_NUM_TOPS: Final = (20, 10, 5, 1)
_NUM_STOPS: Final = (16, 4, 1)
_HOT: Final = 1.5
# A value of each option at which only the likeliest token is left to draw.
_NARROW: Final[Mapping[str, float | int]] = {"top_p": 0.0001, "top_k": 1, "min_p": 1.0}
_REPEATED: Final = "one two one two one two one two one two one"


class Probe:
    """Asks a server what it does. Call `run` once."""

    def __init__(self, server: Server, *, server_version: str, tell: Callable[[str], None]) -> None:
        self._server = server
        self._model = server.choice.model
        self._tell = tell
        self._told_at = time.perf_counter()
        self._problem = ""  # what the server said of the last request that it refused
        self._found = Abilities(server=server_version, probed_at_utc=datetime.now(UTC).isoformat(timespec="seconds"))
        self._path = COMPLETIONS
        self._greedy = ""  # what the model writes without chance

    async def run(self, context_length: int | None) -> Abilities:
        """Return what the server does. Raises SetupError if it has neither completions nor chat, or does not answer."""
        name, host = self._server.choice.name, self._server.choice.host
        self._tell(f"Finding out what {name} at {host} can do, by about 40 short requests …")
        self._found = replace(self._found, context_length=context_length)
        try:
            async with asyncio.timeout(MAX_S):
                for title, step in self._steps():
                    if time.perf_counter() - self._told_at > _TELL_EVERY_S:
                        self._told_at = time.perf_counter()
                        self._tell(f"… {title}")
                    await step()
        except TimeoutError as e:
            raise SetupError(f"{host} answers too slowly: it did not show within {MAX_S:.0f} s what it can do.") from e
        except FewshotError as e:
            raise e if isinstance(e, SetupError) else SetupError(f"{name} at {host} can't be used now: {e}") from e
        return self._found

    def _steps(self) -> Sequence[tuple[str, Callable[[], Any]]]:
        return (
            ("chat and completions", self._find_paths),
            ("seeds", self._find_seed),
            ("sampling options", self._find_options),
            ("stop texts", self._find_stops),
            ("several answers", self._find_n),
            ("log-probabilities", self._find_tops),
            ("usage", self._find_usage),
            ("token counts", self._find_counts),
            ("pictures", self._find_pictures),
            ("going on with an answer", self._find_going_on),
            ("scores of given texts", self._find_scores),
        )

    async def _try(self, path: str, body: Body, *, is_patient: bool = False) -> Any:
        """Return the answer to `body`; None if the server refuses it. Raises FewshotError if it has no time for us."""
        deadline = time.perf_counter() + (_PATIENT_S if is_patient else _ASK_S)
        num_tried = 0
        async with asyncio.timeout(_PATIENT_S + _ASK_S):
            while True:
                try:
                    return await self._server.post(path, body)
                except ServerFailure as failure:
                    num_tried += 1
                    self._problem = failure.said or str(failure)
                    if failure.status in (401, 403):
                        raise SetupError(str(failure.error)) from failure
                    is_broken_there = not is_patient and (failure.status or 0) >= 500 and num_tried >= _MAX_PAUSES
                    if not failure.may_pass or is_broken_there:
                        return None
                    await asyncio.sleep(next_pause(failure, num_tried, deadline))

    def _body(self, path: str, **more: Any) -> Body:
        name = self._found.max_tokens_name if path == CHAT else "max_tokens"
        given: Body = {"prompt": _TEXT}
        if path == CHAT:
            given = {"messages": [{"role": "user", "content": _CHAT_TEXT}]}
        return {"model": self._model, **given, name: _NUM_TOKENS, **more}

    async def _write(self, **more: Any) -> str | None:
        """Return what the model writes to the known text; None if the server refuses the request."""
        answer = await self._try(self._path, self._body(self._path, **more))
        pieces = pieces_of(answer) if answer is not None else ()
        return pieces[0].text if pieces else None

    async def _find_paths(self) -> None:
        has_completions, first = await self._find_path(COMPLETIONS)
        completions_problem = self._problem
        chat_name = self._found.max_tokens_name
        has_chat, chat_first = await self._find_path(CHAT)
        if not has_chat and "max_completion_tokens" in self._problem:
            self._found = replace(self._found, max_tokens_name="max_completion_tokens")
            has_chat, chat_first = await self._find_path(CHAT)
            chat_name = self._found.max_tokens_name
        if not has_completions and not has_chat:
            name, host = self._server.choice.name, self._server.choice.host
            problems = [problem for problem in (self._problem, completions_problem) if problem]
            # Of a server without one of the two, the other one says what is wrong.
            problems.sort(key=lambda problem: self._model not in problem)
            said = f" It says: {problems[0]}" if problems else ""
            raise SetupError(f"{host} answers nothing with {name}; check MODEL and MODEL_API_BASE.{said}")
        self._path = COMPLETIONS if has_completions else CHAT
        self._greedy = first if has_completions else chat_first
        self._found = replace(
            self._found, has_completions=has_completions, has_chat=has_chat, max_tokens_name=chat_name
        )

    async def _find_path(self, path: str) -> tuple[bool, str]:
        """Say whether `path` is there, and what it writes without chance, or with it where temperature is refused."""
        for options in ({"temperature": 0}, {}):
            answer = await self._try(path, self._body(path, **options), is_patient=True)
            if answer is not None and (pieces := pieces_of(answer)):
                if options:
                    self._found = replace(self._found, options=("temperature",))
                return True, pieces[0].text
        return False, ""

    @property
    def _hot(self) -> Body:
        return {"temperature": _HOT} if "temperature" in self._found.options else {}

    async def _find_seed(self) -> None:
        same, again, other = [await self._write(seed=seed, **self._hot) for seed in (11, 11, 12)]
        if same is None:
            return
        keeps = same == again and same != other
        self._found = replace(self._found, takes_seed=True, keeps_seed=keeps)

    async def _find_options(self) -> None:
        if "temperature" not in self._found.options:
            return
        seeds: list[Body] = [{"seed": 21}, {"seed": 22}] if self._found.takes_seed else [{}, {}]
        free = [await self._write(**self._hot, **seed) for seed in seeds]
        varies = any(one != self._greedy for one in free)
        found = ["temperature"]
        for name, value in _NARROW.items():
            texts = [await self._write(**self._hot, **{OPTION_NAMES[name]: value}, **seed) for seed in seeds]
            if None not in texts and (not varies or all(one == self._greedy for one in texts)):
                found.append(name)
        if await self._acts_on_repeats():
            found.append("repetition_penalty")
        self._found = replace(self._found, options=tuple(found))

    async def _acts_on_repeats(self) -> bool:
        given: Body = {"prompt": _REPEATED}
        if self._path == CHAT:
            given = {"messages": [{"role": "user", "content": f"Repeat this: {_REPEATED}"}]}
        plain = await self._write(temperature=0, **given)
        varied = await self._write(temperature=0, repetition_penalty=2.0, **given)
        return varied is not None and varied != plain

    async def _find_stops(self) -> None:
        middle = self._greedy[len(self._greedy) // 2 :].lstrip()[:3].strip()
        if not middle:
            return
        wanted = self._greedy[: self._greedy.find(middle)]
        cold = {"temperature": 0} if self._hot else {}
        for num in _NUM_STOPS:
            stops = [middle, *(f"\x01{i}" for i in range(num - 1))]
            text = await self._write(stop=stops, **cold)
            if text is not None:
                # Where chance can't be switched off, the same text does not come twice.
                acts = text.rstrip() == wanted.rstrip() if cold else middle not in text
                self._found = replace(self._found, max_stops=num if acts else 0)
                return

    async def _find_n(self) -> None:
        answer = await self._try(self._path, self._body(self._path, n=2))
        self._found = replace(self._found, takes_n=len({piece.index for piece in pieces_of(answer)}) == 2)

    async def _find_tops(self) -> None:
        if self._found.has_completions:
            self._found = replace(self._found, num_top=await self._num_top(COMPLETIONS))
        if self._found.has_chat:
            self._found = replace(self._found, num_chat_top=await self._num_top(CHAT))

    async def _num_top(self, path: str) -> int:
        for num in _NUM_TOPS:
            asked: Body = {"logprobs": num} if path == COMPLETIONS else {"logprobs": True, "top_logprobs": num}
            answer = await self._try(path, self._body(path, **asked))
            if answer is not None:
                return min(num, _num_expected(pieces_of(answer)))
        return 0

    async def _find_usage(self) -> None:
        body = self._body(self._path, stream_options={"include_usage": True})
        told = None
        try:
            async with asyncio.timeout(_ASK_S):
                async for chunk in self._server.stream(self._path, body):
                    told = usage_of(chunk) or told
        except ServerFailure:
            return
        is_likely = told is not None and 0 < told.num_new_tokens <= 2 * _NUM_TOKENS and told.num_prompt_tokens > 1
        self._found = replace(self._found, tells_usage=is_likely)

    async def _find_counts(self) -> None:
        counts = []
        for text in (_TEXT, f"{_TEXT} {_TEXT}"):
            path = self._server.beside("/tokenize")
            counts.append(count_of(await self._try(path, {"model": self._model, "prompt": text})))
        short, long = counts
        is_likely = short is not None and long is not None and 1 < short < long <= len(_TEXT.encode()) * 2 + 2
        self._found = replace(self._found, counts_tokens=is_likely)

    async def _find_pictures(self) -> None:
        """Ask for the colours of two pictures: who guesses, or passes over the pictures, does not know both."""
        if not self._found.has_chat:
            return
        for colour, picture in PICTURES.items():
            try:
                answer = await self._try(CHAT, self._picture_body(picture))
            except TimeoutError:
                return
            pieces = pieces_of(answer) if answer is not None else ()
            if not pieces or not names_colour(pieces[0].text, colour):
                return
        self._found = replace(self._found, reads_pictures=True)

    def _picture_body(self, picture: bytes) -> Body:
        content = [{"type": "text", "text": COLOUR_QUESTION}, picture_part("image/png", picture)]
        num = _NUM_PICTURE_TOKENS + (THINKING_TOKENS if self._found.thinks else 0)
        cold = {"temperature": 0} if self._hot else {}
        body = self._body(CHAT, messages=[{"role": "user", "content": content}], **cold)
        return {**body, self._found.max_tokens_name: num}

    async def _find_going_on(self) -> None:
        """Compare the prompts' lengths: an answer to go on with is read without the marks of a new turn."""
        if not (self._found.has_chat and self._found.tells_usage):
            return
        messages = [{"role": "user", "content": "Count to ten."}, {"role": "assistant", "content": _BEGUN}]
        plain = usage_of(await self._try(CHAT, self._body(CHAT, messages=messages)))
        flags = {"continue_final_message": True, "add_generation_prompt": False}
        going_on = usage_of(await self._try(CHAT, self._body(CHAT, messages=messages, **flags)))
        if plain is not None and going_on is not None:
            is_shorter = going_on.num_prompt_tokens < plain.num_prompt_tokens
            self._found = replace(self._found, continues_answers=is_shorter)

    async def _find_scores(self) -> None:
        if not (self._found.has_completions and self._found.num_top):
            problem = "" if self._found.has_completions else "there are no completions"
            self._found = replace(self._found, score_problem=problem or "there are no log-probabilities")
            return
        self._found = await measure_scores(self._try, self._model, self._found)


def _num_expected(pieces: Sequence[Piece]) -> int:
    return max((len(token.expected) for piece in pieces for token in piece.tokens), default=0)
