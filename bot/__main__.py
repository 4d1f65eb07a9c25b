"""The command line of the program, and its exit status."""

import errno
import os
import sys
from collections.abc import Sequence
from typing import Final

from bot.engine.networks.native.building import compile_for
from bot.errors import FewshotError
from bot.program.arguments import build_parser
from bot.program.backups import limit_backups
from bot.program.logs import set_up_logging, show_trace
from bot.program.opening import limit_threads
from bot.settings import Settings
from bot.telling import say

_EXIT_SETUP: Final = 2
_EXIT_INTERRUPTED: Final = 130
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, 2 for an error that the operator can fix, 130 after Ctrl-C."""
    arguments = build_parser().parse_args(argv)
    try:
        settings = Settings.from_env()
        set_up_logging(settings.log_level, settings.log_format)
        settings = limit_backups(limit_threads(settings))
        compile_for(settings.compile_for)
        if getattr(arguments, "trace", False):
            show_trace(settings.log_format)
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
