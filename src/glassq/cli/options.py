"""The options that several commands share, so that they are called and explained alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from glassq.model.names import check_key

Command = TypeVar("Command", bound=Callable[..., Any])


def _checked(context: click.Context, option: click.Parameter, key: str | None) -> str | None:  # noqa: ARG001 - click's signature
    return None if key is None else check_key(key)


def lane_key(meaning_of_none: str) -> Callable[[Command], Command]:
    """`--key K`, for commands that are about one lane; says what is meant without it."""
    return click.option(
        "--key", metavar="K", callback=_checked, help=f"The lane's ordering key (default: {meaning_of_none})."
    )


def at_most(default: int, what: str) -> Callable[[Command], Command]:
    """`--limit N`, for commands that list."""
    return click.option(
        "-n",
        "--limit",
        type=click.IntRange(1),
        default=default,
        show_default=True,
        metavar="N",
        help=f"Show at most so many {what}.",
    )


store_url = click.option(
    "--url", metavar="URL", help="The store, for example redis://localhost:6379/0 or sqlite:///jobs.db."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")
log_level = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    show_default=True,
)
log_format = click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True
)
yes = click.option("--yes", is_flag=True, help="Go on without asking for the name.")
