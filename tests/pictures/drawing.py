"""Pages that look as a Grafana would draw the dashboards, nearly: same places, colours, units, thresholds.

No Grafana is needed, so that whoever changes a panel can look at it: `python -m tests.pictures DIR`.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from glassq.observe.dashboards.rendering import dashboard_files
from tests.integration.askedpanels import CHOSEN, filled_in
from tests.integration.monitored import Prometheus
from tests.pictures.shapes import (
    NAMED,
    PALETTE,
    Curve,
    Frame,
    Points,
    bands,
    cells,
    chart,
    highest,
    lowest,
)
from tests.pictures.units import written

Json = dict[str, Any]
Series = dict[str, Any]

UNIT, GAP, WIDTH = 30, 8, 1600
STYLE = """
body { margin: 0; background: #111217; color: #ccccdc; font: 12px Inter, Arial, sans-serif; width: 1600px }
h1 { font-size: 16px; margin: 10px }
.board { position: relative }
.panel { position: absolute; background: #181b1f; border: 1px solid #24272c; border-radius: 2px;
         overflow: hidden; box-sizing: border-box; padding: 6px 8px }
.row { position: absolute; font-size: 15px; font-weight: 600; padding: 6px }
.title { font-weight: 500; font-size: 13px; height: 20px; white-space: nowrap; overflow: hidden }
.stat { position: absolute; inset: 26px 0 0 0; display: flex; align-items: center; justify-content: center;
        font-size: 32px; font-weight: 600 }
.legend { font-size: 11px; max-height: 32px; overflow: hidden }
.legend i { display: inline-block; width: 12px; height: 4px; margin: 0 4px 2px 10px }
text { fill: #9fa2ab; font-size: 11px } .said text { fill: #fff } .grid { stroke: #2c3037 }
table { border-collapse: collapse; width: 100%; font-size: 13px } td, th { padding: 7px 8px; text-align: left;
        border-bottom: 1px solid #24272c } th { color: #6e9fff; font-weight: 500 }
.none { color: #777; text-align: center; padding-top: 40px }
"""


def page(uid: str, prometheus: Prometheus, seconds: float, **chosen: str) -> tuple[str, int]:
    """The whole dashboard as HTML, and how high it is."""
    board = json.loads(dashboard_files()[f"{uid}.json"])
    artist = _Artist(prometheus, seconds, {**CHOSEN, **chosen})
    parts, bottom = [], 0
    for panel in board["panels"]:
        place = panel["gridPos"]
        left, top = place["x"] * WIDTH / 24, place["y"] * (UNIT + GAP)
        width, height = place["w"] * WIDTH / 24 - GAP, place["h"] * (UNIT + GAP) - GAP
        bottom = max(bottom, round(top + height))
        where = f'style="left:{left:.0f}px;top:{top}px;width:{width:.0f}px;height:{height}px"'
        if panel["type"] == "row":
            parts.append(f'<div class="row" {where}>{html.escape(panel["title"])}</div>')
        else:
            inside = artist.draw(panel, width - 18, height - 32)
            title = f'<div class="title">{html.escape(panel["title"])}</div>'
            parts.append(f'<div class="panel" {where}>{title}{inside}</div>')
    head = f"<h1>{html.escape(board['title'])} &nbsp; {html.escape(' '.join(chosen.values()))}</h1>"
    body = f'{head}<div class="board">{"".join(parts)}</div>'
    return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><body>{body}</body>", bottom + 60


class _Artist:
    """Asks for the data of each panel and draws it."""

    def __init__(self, prometheus: Prometheus, seconds: float, chosen: Mapping[str, str]) -> None:
        self._prometheus = prometheus
        self._seconds = seconds
        self._chosen = chosen

    def draw(self, panel: Json, width: float, height: float) -> str:
        """The inside of a panel."""
        if panel["type"] == "table":
            return self._table(panel)
        found = [(target, self._asked(target)) for target in panel["targets"]]
        if not any(series for _, series in found):
            said = panel["fieldConfig"]["defaults"].get("noValue", "No data")
            return f'<div class="none">{said}</div>'
        if panel["type"] == "stat":
            return _stat(panel, found[0][1])
        moments = [at for _, all_ in found for each in all_ for at, _ in each["values"]]
        frame = Frame(width, height, min(moments), max(*moments, min(moments) + 1), 1.0)
        if panel["type"] == "state-timeline":
            return _timeline(panel, found, frame)
        points = self._exemplars(panel)
        if panel["type"] == "heatmap":
            buckets = {float(each["metric"]["le"]): _points(each) for each in found[0][1]}
            return cells(buckets, frame, panel["options"]["yAxis"]["unit"], points)
        return _curves(panel, found, frame, points)

    def _asked(self, target: Json) -> list[Series]:
        step = max(1.0, self._seconds / 240)
        return self._prometheus.over_time(filled_in(target["expr"], self._chosen), self._seconds, step)

    def _exemplars(self, panel: Json) -> Points:
        asked = [filled_in(each["expr"], self._chosen) for each in panel["targets"] if each["exemplar"]]
        found = [each for expr in asked for each in self._prometheus.exemplars(expr, self._seconds)]
        return [(float(each["timestamp"]), float(each["value"])) for each in found]

    def _table(self, panel: Json) -> str:
        renamed = panel["transformations"][1]["options"]["renameByName"]
        several = len(panel["targets"]) > 1
        lines: dict[tuple[str, ...], Json] = {}
        labels = [key for key in renamed if not key.startswith("Value")]
        for target in panel["targets"]:
            name = renamed[f"Value #{target['refId']}" if several else "Value"]
            for each in self._prometheus.series(filled_in(target["expr"], self._chosen)):
                key = tuple(each["metric"].get(label, "") for label in labels)
                lines.setdefault(key, {})[name] = float(each["value"][1])
        headings = [renamed[key] for key in renamed if key.startswith("Value")]
        head = "".join(f"<th>{html.escape(each)}</th>" for each in [*(renamed[k] for k in labels), *headings])
        order = panel["options"]["sortBy"]
        by = order[0]["displayName"] if order else ""
        rows = sorted(lines.items(), key=lambda line: -line[1].get(by, -1.0))
        body = "".join(
            "<tr>" + "".join(f"<td>{part}</td>" for part in key) + _cells_of(panel, headings, line) + "</tr>"
            for key, line in rows
        )
        return f"<table><tr>{head}</tr>{body}</table>"


def _points(series: Series) -> Points:
    return [(float(at), float(value)) for at, value in series["values"]]


def _stat(panel: Json, found: Sequence[Series]) -> str:
    looks = panel["fieldConfig"]["defaults"]
    value = float(found[0]["values"][-1][1])
    said = written(value, looks["unit"], looks.get("decimals"))
    for mapping in looks["mappings"]:
        said = mapping["options"].get(f"{value:.0f}", {}).get("text", said)
    colour = _threshold(looks["thresholds"], value)
    solid = panel["options"]["colorMode"] == "background_solid"
    style = f"background:{colour};color:#111" if solid else f"color:{colour}"
    return f'<div class="stat" style="{style}">{html.escape(said)}</div>'


def _threshold(thresholds: Json, value: float) -> str:
    colour = "green"
    for step in thresholds["steps"]:
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    return NAMED.get(colour, colour)


def _curves(panel: Json, found: Sequence[tuple[Json, list[Series]]], frame: Frame, points: Points) -> str:
    custom = panel["fieldConfig"]["defaults"]["custom"]
    colours = {
        each["matcher"]["options"]: prop["value"]["fixedColor"]
        for each in panel["fieldConfig"]["overrides"]
        for prop in each["properties"]
        if prop["id"] == "color" and each["matcher"]["id"] == "byName"
    }
    curves: list[Curve] = []
    for target, series in found:
        for each in series:
            name = _legend(target["legendFormat"], each)
            limit = name.startswith("objective")
            colour = "red" if limit else colours.get(name, PALETTE[len(curves) % len(PALETTE)])
            curves.append(Curve(name, NAMED.get(colour, colour), _points(each), limit))
    stacked = custom["stacking"]["mode"] == "normal"
    top = max([highest(curves, stacked=stacked), *(value * 1.05 for _, value in points)])
    bottom = lowest(curves, points) if custom["scaleDistribution"]["type"] == "log" else 0
    inside = Frame(frame.width, frame.height - 32, frame.begin, frame.end, top, bottom=bottom)
    picture = chart(
        curves,
        inside,
        panel["fieldConfig"]["defaults"]["unit"],
        stacked=stacked,
        bars=custom["drawStyle"] == "bars",
        exemplars=points,
    )
    names = "".join(f'<i style="background:{each.colour}"></i>{html.escape(each.name)}' for each in curves)
    return f'{picture}<div class="legend">{names}</div>'


def _legend(template: str, series: Series) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: series["metric"].get(found[1], ""), template)


def _timeline(panel: Json, found: Sequence[tuple[Json, list[Series]]], frame: Frame) -> str:
    words = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    rows = {}
    for target, series in found:
        for each in series:
            states = [(at, words[f"{value:.0f}"]) for at, value in _points(each)]
            rows[_legend(target["legendFormat"], each)] = [
                (at, said["text"], NAMED.get(said["color"], said["color"])) for at, said in states
            ]
    longest = max(len(name) for name in rows)
    return bands(rows, Frame(frame.width, frame.height, frame.begin, frame.end, 1.0, left=20 + 6.5 * longest))


def _cells_of(panel: Json, headings: Sequence[str], line: Mapping[str, float]) -> str:
    looks = {each["matcher"]["options"]: each["properties"] for each in panel["fieldConfig"]["overrides"]}
    done = []
    for heading in headings:
        properties = {each["id"]: each["value"] for each in looks.get(heading, ())}
        value = line.get(heading, math.nan)
        said = written(value, properties.get("unit", "short"))
        colour = ""
        if "thresholds" in properties and not math.isnan(value):
            colour = _threshold(properties["thresholds"], value)
        for mapping in properties.get("mappings", ()):
            found = mapping["options"].get(f"{value:.0f}", {"text": said, "color": ""})
            said, colour = found["text"], NAMED.get(found["color"], found["color"])
        style = f' style="background:{colour};color:#111"' if colour else ""
        done.append(f"<td{style}>{html.escape(said)}</td>")
    return "".join(done)
