"""`glassq health`: the probe for containers, from the standard library alone.

It reads the file a worker started with `--health-file` keeps fresh, so it starts in milliseconds and
needs neither the store nor the network.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from glassq.cli.probe import read_heartbeat

VARIABLE = "GLASSQ_HEALTH_FILE"

_EPILOG = """\
exit codes: 0 pass, 1 fail (also when the file is missing or old), 2 wrong usage

examples:
  glassq worker shop.jobs:app --health-file /run/glassq.health
  glassq health --live --file /run/glassq.health
  GLASSQ_HEALTH_FILE=/run/glassq.health glassq health --ready
"""


class _OneLineErrors(argparse.ArgumentParser):
    """Says what is wrong in one line, without repeating the usage."""

    def error(self, message: str) -> None:  # type: ignore[override]  # exits, as its parent does
        self.exit(2, f"error: {message} (see 'glassq health --help')\n")


def main(arguments: Sequence[str]) -> int:
    """Print one line about the worker's health; 0 pass, 1 fail, 2 wrong usage."""
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as end:  # argparse ends the process itself; our caller decides about that
        return int(end.code or 0)
    path = options.file or os.environ.get(VARIABLE)
    if not path:
        print(f"error: name the worker's health file with --file or ${VARIABLE}", file=sys.stderr)
        return 2
    code, text = read_heartbeat(path, options.max_age, options.which)
    print(text)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineErrors(
        prog="glassq health",
        description="Ask a worker's health file: is the worker alive, is it ready?",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--live", dest="which", action="store_const", const="live", help="its loop turns")
    which.add_argument("--ready", dest="which", action="store_const", const="ready", help="it takes jobs")
    parser.add_argument("--file", metavar="F", help=f"the worker's --health-file (default: ${VARIABLE})")
    parser.add_argument(
        "--max-age",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="fail when the file is older than this many seconds (default: 30)",
    )
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds
