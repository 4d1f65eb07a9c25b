"""The command line of the program, and its exit status."""

import errno
import logging
import os
import sys
from collections.abc import Sequence
from typing import Final

from bot.engine.networks.native.building import compile_for
from bot.errors import FewshotError
from bot.platforms.shared.masking import hide_requests
from bot.program.arguments import build_parser
from bot.program.opening import limit_threads, say
from bot.settings import Settings
from bot.trace import TraceFormatter
from bot.trace import logger as trace_logger

_EXIT_SETUP: Final = 2
_EXIT_INTERRUPTED: Final = 130
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def _show_trace() -> None:
    """Print the steps of every request on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(TraceFormatter())
    trace_logger.addHandler(handler)
    trace_logger.propagate = False
    trace_logger.setLevel(logging.DEBUG)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, 2 for an error that the operator can fix, 130 after Ctrl-C."""
    arguments = build_parser().parse_args(argv)
    try:
        settings = limit_threads(Settings.from_env())
        logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        hide_requests()
        compile_for(settings.compile_for)
        if getattr(arguments, "trace", False):
            _show_trace()
        status = int(arguments.run(settings, arguments))
        sys.stdout.flush()
        return status
    except FewshotError as e:
        say(str(e))
        return _EXIT_SETUP
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        _close_output()
        return 1
    except OSError as e:
        if e.errno not in _NO_SPACE:
            raise
        _close_output()
        say(f"{e.filename or 'The output'} can't be written: {os.strerror(e.errno).lower()}.")
        return 1


def _close_output() -> None:
    """Drop what standard output could not take: the interpreter must not flush it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
