"""The command line. This file stays light: the health probe must start without any dependency."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from glassq.cli.health import main as health

USAGE = 2
"""Exit code of a command that cannot be understood or carried out as given."""

_EXTRA = ("click", "rich")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 0 done, 1 failed, 2 wrong usage or configuration, 130 Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["health"]:
        return health(arguments[1:])
    try:
        from glassq.cli.commands import run
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in _EXTRA:
            raise
        print("error: the command line needs an optional package: pip install 'glassq[cli]'", file=sys.stderr)
        return USAGE
    return run(arguments)
