"""Code of others that is called on the way (observers, Arounds, log handlers): what it raises stops here."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def passes(error: BaseException) -> bool:
    """Whether an error of foreign code must go on upwards instead of being reported.

    Only what a signal handler may have raised while that code ran: `KeyboardInterrupt`, or the `SystemExit`
    of a program's own handler. Python runs those in the main thread; elsewhere even a `SystemExit` is the
    foreign code's own, and would end a thread that leases depend on.
    """
    return not isinstance(error, Exception) and threading.current_thread() is threading.main_thread()


class Log(logging.LoggerAdapter[logging.Logger]):
    """A logger whose handlers and filters cannot hurt the caller: what they raise goes to stderr.

    `logging` reports errors of its own handlers so, but lets those of others through, into whichever thread
    had something to say.
    """

    def __init__(self, name: str) -> None:
        super().__init__(logging.getLogger(name))

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """See `logging.Logger.log`."""
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # name the caller's line, not this one
        with _shield():
            super().log(level, msg, *args, **kwargs)

    def log_remote(
        self, level: int, msg: str, *args: object, traceback: str | None, extra: Mapping[str, object]
    ) -> None:
        """As `log`, of an exception whose traceback is at hand as text only: it stands where that of an
        exception does."""
        with _shield():
            if self.isEnabledFor(level):
                path, line, function, _ = self.logger.findCaller(stacklevel=2)
                record = self.logger.makeRecord(
                    self.name, level, path, line, msg, args, None, function, extra=extra
                )
                record.exc_text = traceback
                self.logger.handle(record)


@contextmanager
def _shield() -> Iterator[None]:
    """Around what handlers do."""
    try:
        yield
    except BaseException as error:  # licensed: around log handlers
        if passes(error):
            raise
        _complain()


def _complain() -> None:
    """Say on stderr that a handler failed, if there is one and the program wants to hear it."""
    if not logging.raiseExceptions or sys.stderr is None:
        return
    try:
        sys.stderr.write("glassq: a log handler raised:\n" + traceback.format_exc())
    except BaseException as error:  # licensed: around a program's own sys.stderr; nowhere is left to say it
        if passes(error):
            raise
