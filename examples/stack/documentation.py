"""Serves a folder of documents on port 8000, so that the dashboards' links to runbooks lead somewhere.

python documentation.py FOLDER
"""

from __future__ import annotations

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

PORT = 8000


class Documents(SimpleHTTPRequestHandler):
    """Browsers show plain text; Markdown they would only store."""

    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".md": "text/plain; charset=utf-8"}  # noqa: RUF012


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", PORT), partial(Documents, directory=sys.argv[1])).serve_forever()
