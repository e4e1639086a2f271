"""When a schedule is due: by a cron expression, at an interval, or once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from zoneinfo import ZoneInfo

import msgspec

from glassq.errors import BadOption, MissingExtra
from glassq.model.quantities import YEAR_9999, check_seconds

_CRON = "cronsim"


class Cron(msgspec.Struct, frozen=True, tag="cron"):
    """Five fields (minute, hour, day of month, month, day of week), or six with seconds before them, read in
    a time zone.

    Both changes of the clock are dealt with as Debian's cron does. A fixed time of day that a change skips is
    due as soon as the skipped hour is over, and one that comes twice is due the first time. What has a `*` in
    its minutes or hours, or has seconds, follows the time that really passes: through the repeated hour
    twice, and through the skipped one not at all.
    """

    expression: str
    timezone: str = "UTC"

    def after(self, moment: float) -> int | None:
        """The first slot after a moment; None when none comes within 50 years."""
        from cronsim import CronSim

        start = datetime.fromtimestamp(int(moment), ZoneInfo(self.timezone))
        for found in CronSim(self.expression, start):
            # Fixed times are looked for on the wall's clock, which may lead back to before the moment, or to
            # the end of a skipped hour several times.
            slot = int(found.timestamp())
            if slot > moment:
                return slot
        return None

    def __str__(self) -> str:
        return f"{self.expression} ({self.timezone})"


class Every(msgspec.Struct, frozen=True, tag="every"):
    """An interval in whole seconds: due at its multiples since the epoch, so that all who know it agree, and
    no restart moves it."""

    seconds: int

    def after(self, moment: float) -> int | None:
        """The first slot after a moment."""
        return int(moment // self.seconds + 1) * self.seconds

    def __str__(self) -> str:
        return f"every {timedelta(seconds=self.seconds)}"


class Once(msgspec.Struct, frozen=True, tag="once"):
    """A single moment, in epoch seconds."""

    at: int

    def after(self, moment: float) -> int | None:
        """That moment, unless it is not after the given one."""
        return self.at if moment < self.at else None

    def __str__(self) -> str:
        return f"once at {datetime.fromtimestamp(self.at, UTC):%Y-%m-%d %H:%M:%SZ}"


Timetable = Cron | Every | Once


def can_read(timetable: Timetable) -> bool:
    """Whether this process can: cron expressions need the extra `cron`."""
    return not isinstance(timetable, Cron) or find_spec(_CRON) is not None


def parse_cron(expression: object, timezone: object = "UTC") -> Cron:
    """A checked cron expression. `BadOption` for one that cannot be read, is never due, or names an unknown
    time zone; `MissingExtra` without the extra `cron`."""
    if not isinstance(expression, str):
        raise BadOption("cron", f'is text such as "0 9 * * *", got {expression!r}')
    if not isinstance(timezone, str):
        raise BadOption("timezone", f"is the name of a time zone, got {timezone!r}")
    if find_spec(_CRON) is None:
        raise MissingExtra(f"a cron schedule ({expression})", "cron")
    from cronsim import CronSim, CronSimError

    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        hint = 'use a name such as "Europe/Stockholm"'
        raise BadOption("timezone", f"{timezone!r} is no time zone that this machine knows; {hint}") from None
    try:
        due = next(CronSim(expression, datetime.now(zone)), None)
    except CronSimError as error:
        fields = 'minute, hour, day of month, month, day of week, as in "0 9 * * *"'
        raise BadOption("cron", f"{expression!r} cannot be read: {error}; its fields are {fields}") from None
    if due is None:
        raise BadOption("cron", f"{expression!r} is never due")
    return Cron(" ".join(expression.split()), timezone)


def parse_interval(interval: object) -> Every:
    """A checked interval: whole seconds from 1 up, or a timedelta of such. Raises `BadOption`."""
    given = interval.total_seconds() if isinstance(interval, timedelta) else interval
    seconds = check_seconds("every", given, above_zero=True)
    if seconds != int(seconds):
        raise BadOption("every", f"is in whole seconds, got {interval!r}")
    return Every(int(seconds))


def parse_moment(moment: object) -> Once:
    """A checked moment: an aware datetime or epoch seconds, rounded up to a whole one. Raises `BadOption`."""
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise BadOption("at", "needs a time zone, or it would mean another moment on another machine")
        moment = moment.timestamp()
    return Once(-int(-check_seconds("at", moment, at_most=YEAR_9999) // 1))


def timetable(
    *,
    cron: str | None = None,
    timezone: str = "UTC",
    every: float | timedelta | None = None,
    at: datetime | float | None = None,
) -> Timetable:
    """When a schedule is due, by the one way that is given. Raises `BadOption`, `MissingExtra`."""
    given = [name for name, value in (("cron", cron), ("every", every), ("at", at)) if value is not None]
    if not given:
        raise BadOption("cron", "every or at says when a schedule is due; give one of them")
    if len(given) > 1:
        raise BadOption(given[1], f"and {given[0]} exclude each other; give one of them")
    if timezone != "UTC" and cron is None:
        raise BadOption("timezone", "is for cron; every and at mean the same in all time zones")
    if every is not None:
        return parse_interval(every)
    return parse_cron(cron, timezone) if at is None else parse_moment(at)
