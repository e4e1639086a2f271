"""Configurations by the thousand: what is accepted comes back equal, what is broken is only ever refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glassq.config import Configuration, from_dict, load
from glassq.config.fields import CONFIGURATION
from glassq.config.kinds import BYTES, NUMBER, SECONDS, TEXT, TRUTH, WHOLE, Kind
from glassq.config.shapes import ByName, Either, Group, InOrder, Several, Shape
from glassq.errors import BadConfiguration
from glassq.model.objectives import WAIT_BOUNDS
from tests.unit.test_config import TWO_WORKERS

NAMES = st.one_of(
    st.from_regex(r"[A-Za-z0-9_.:-]{1,12}", fullmatch=True),
    st.sampled_from(["on", "no", "010", "null", "1e3"]),
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "app": st.sampled_from(["shop:app", "shop.jobs:app"]),
    "durability": st.sampled_from(["memory", "replicated:2"]),
    "host": st.sampled_from(["127.0.0.1", "::1", "localhost"]),
    "jitter": st.floats(0, 1),
    "level": st.sampled_from(["debug", "error"]),
    "format": st.sampled_from(["text", "json"]),
    "max_age": st.sampled_from(WAIT_BOUNDS),
    "name": NAMES,
    "node_id": NAMES,
    "on_exhausted": st.sampled_from(["bury", "halt"]),
    "on_unknown": st.sampled_from(["bury", "halt"]),
    "port": st.integers(0, 65535),
    "shards": st.integers(1, 256),
    "turn": st.integers(1, 10_000),
    "weights": st.dictionaries(NAMES, st.integers(1, 100), max_size=3),
    # YAML takes U+0085 for the end of a line, whoever writes it as it is: then it is read as another one.
    "token": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85"), min_size=1),
    "url": st.sampled_from(["redis://:p%40w@h/1", "sqlite:///a b.db", "unix:///run/r.sock"]),
}
"""What is drawn for fields that take less than their kind."""
KINDS: dict[Kind, st.SearchStrategy[Any]] = {
    TEXT: st.from_regex(r"[A-Za-z0-9 ':#-]{1,20}", fullmatch=True),
    WHOLE: st.integers(1, 10**6),
    BYTES: st.one_of(st.integers(1, 1 << 18), st.integers(1, 256).map("{}KiB".format)),
    NUMBER: st.floats(1, 1e6),
    TRUTH: st.booleans(),
    SECONDS: st.one_of(
        st.floats(1, 1e6), st.integers(1, 10**6), st.integers(1, 900).map("{}m".format), st.just("1.5 h")
    ),
}


def drawn(shape: Shape) -> st.SearchStrategy[Any]:
    """What may stand where the table has this shape."""
    match shape:
        case Kind():
            return KINDS[shape]
        case Group():
            fields = {
                field.name: VALUES[field.name] if field.name in VALUES else drawn(field.shape)
                for field in shape.fields
            }
            required = {field.name for field in shape.fields if field.required}
            return st.fixed_dictionaries(
                {name: fields[name] for name in required},
                optional={name: each for name, each in fields.items() if name not in required},
            )
        case ByName():
            return st.dictionaries(NAMES, drawn(shape.each), max_size=3)
        case InOrder():
            groups = drawn(shape.each)
            return st.lists(groups, min_size=1, max_size=3, unique_by=lambda group: group["name"])
        case Several():
            return st.lists(NAMES, min_size=1, max_size=3, unique=True)
        case Either():
            return st.one_of(drawn(shape.single), drawn(shape.group))


def _agree_on_keys(worker: dict[str, Any]) -> None:
    """Nobody steals what is assigned to it, or anything where it is to leave alone what is not."""
    stolen = [key for key in worker.pop("steal_from", []) if key not in worker.get("assigned", [])]
    if worker.get("exclusive") and not worker.get("assigned"):
        worker["exclusive"] = False
    if stolen and not worker.get("exclusive"):
        worker["steal_from"] = stolen


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """Settings that agree with each other."""
    chosen: dict[str, Any] = draw(drawn(CONFIGURATION))
    if "token" in chosen.get("http", {}):
        chosen["http"].pop("token_file", None)
    for worker in chosen.get("workers", []):
        _agree_on_keys(worker)
    if chosen.get("queues"):
        for worker in chosen.get("workers", []):
            for queue in worker.get("queues", []):
                chosen["queues"].setdefault(queue, {})
    return chosen


@given(configurations())
def test_what_is_accepted_comes_back_equal(chosen: dict[str, Any]) -> None:
    """The settings of a configuration, written out and read again, are that configuration."""
    configuration = from_dict(chosen)
    written = configuration.to_dict()
    assert from_dict(written) == configuration
    assert from_dict(json.loads(json.dumps(written))) == configuration
    assert configuration.over({}) == configuration


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(configurations(), st.booleans())
def test_files_say_what_dicts_say(tmp_path: Path, chosen: dict[str, Any], flow: bool) -> None:
    """YAML as another program writes it, in either of its styles, is read back as it was meant."""
    file = tmp_path / "a.yaml"
    escaped = json.loads(json.dumps({"drain": 1, **chosen}).replace("${", "$${"))
    file.write_text(yaml.safe_dump(escaped, default_flow_style=flow, allow_unicode=True), encoding="utf-8")
    assert load(file, {}) == from_dict({"drain": 1, **chosen})


PIECES = st.one_of(
    st.sampled_from(
        [
            b"\t",
            b"- ",
            b": ",
            b"{",
            b"}",
            b"[",
            b"]",
            b"&a ",
            b"*a",
            b"<<: ",
            b"!!int ",
            b"\n",
            b"'",
            b'"',
            b"|",
            b"? ",
        ]
    ),
    st.sampled_from(
        [
            b"${X}",
            b"${",
            b"#",
            b"---\n",
            b"...\n",
            b"%YAML 9.9\n",
            b"\xff",
            b"\x00",
            b"\xc2\x85",
            b"~",
            b".nan",
        ]
    ),
    st.sampled_from([*TWO_WORKERS.encode().splitlines(keepends=True)]),
    st.binary(min_size=1, max_size=4),
)


@st.composite
def broken(draw: st.DrawFn, text: bytes) -> bytes:
    """A text in which a few pieces were put in, taken out or moved."""
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(text)))
        length = draw(st.sampled_from([0, 0, 1, 2, 9, 40]))
        text = text[:place] + draw(st.one_of(PIECES, st.just(b""))) + text[place + length :]
    return text


def loaded(file: Path, content: bytes) -> Configuration | BadConfiguration:
    """What becomes of a file; anything else that is raised is a failure."""
    file.write_bytes(content)
    try:
        return load(file, {})
    except BadConfiguration as error:
        return error


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(broken(TWO_WORKERS.encode()))
def test_a_broken_file_is_read_or_refused_with_its_line(tmp_path: Path, content: bytes) -> None:
    """Whatever happens to a file: it is a configuration still, or every problem has file, line and reason."""
    file = tmp_path / "a.yaml"
    result = loaded(file, content)
    if isinstance(result, Configuration):
        assert from_dict(result.to_dict()) == result
        return
    assert result.problems
    for problem in result.problems:
        assert problem.file == str(file)
        assert problem.line or "is empty" in problem.problem
        assert problem.option
        assert problem.problem


PLAIN = {"drain": 1, "queues": {"a": {"max_length": 3}}, "workers": [{"name": "w", "queues": ["a"]}]}
TOML = 'drain = 1\n[queues.a]\nmax_length = 3\n[[workers]]\nname = "w"\nqueues = ["a"]\n'


@pytest.mark.parametrize(("name", "text"), [("a.json", json.dumps(PLAIN, indent=1)), ("a.toml", TOML)])
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_other_languages_are_read_or_refused(
    tmp_path: Path, name: str, text: str, data: st.DataObject
) -> None:
    """Broken TOML and JSON are refused as configurations, too, never in another way."""
    file = tmp_path / name
    file.write_text(text)
    assert load(file, {}) == from_dict(PLAIN)
    result = loaded(file, data.draw(broken(text.encode())))
    if isinstance(result, Configuration):
        assert from_dict(result.to_dict()) == result
    else:
        assert all(problem.file == str(file) for problem in result.problems)
