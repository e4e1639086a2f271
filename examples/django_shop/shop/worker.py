"""What `glassq worker shop.worker:app` runs: the application's jobs, with Django set up around them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import django
from django.db import close_old_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()

from .jobs import app  # noqa: E402 - models may be imported from here on


@contextmanager
def usable_connections(_: object) -> Iterator[None]:
    """Django does this around each request: a thread of a worker would keep a connection that has broken, or
    is older than CONN_MAX_AGE, for ever."""
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


app.bus.wrap(usable_connections)
