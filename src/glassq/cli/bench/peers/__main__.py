"""`python -m glassq.cli.bench.peers MODULE JOBS DIRECTORY`: one run of one peer.

The server is in the environment, as a URL may hold a password.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from glassq.cli.bench.peers.trial import play
from glassq.cli.bench.rawworker import URL


def main() -> None:
    """Set the peer up and let it play."""
    module, jobs, directory = sys.argv[1:]
    url = os.environ[URL]
    play(import_module(f"glassq.cli.bench.peers.{module}").set_up(url, directory), int(jobs))


if __name__ == "__main__":
    main()
