"""Numbers as Grafana writes them, nearly."""

from __future__ import annotations

import math

_TIMES = ((86400, "day"), (3600, "hour"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs"))
_AMOUNTS = ((1e9, "Bil"), (1e6, "Mil"), (1e3, "K"))
_BYTES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


_SCALES = {"s": _TIMES, "bytes": _BYTES, "short": _AMOUNTS}


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """The value with its unit."""
    if math.isnan(value):
        return "-"
    if unit in _SCALES and value >= _SCALES[unit][-1][0]:
        return _scaled(value, _SCALES[unit])
    if unit == "percentunit":
        return _short(value * 100, decimals) + "%"
    if unit.startswith("suffix:"):
        return f"{_short(value, decimals)} {unit.removeprefix('suffix:')}"
    return _short(value, decimals) + (" ops/s" if unit == "ops" else "")


def _short(value: float, decimals: int | None = None) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if decimals is not None:
        return f"{value:.{decimals}f}"
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"


def _scaled(value: float, scale: tuple[tuple[float, str], ...]) -> str:
    if math.isinf(value):
        return "∞"
    size, name = next(each for each in scale if value >= each[0])
    return f"{_short(value / size)} {name}"
