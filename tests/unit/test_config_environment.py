"""What the environment adds to a configuration, and that nothing of it is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glassq.config import from_dict, load
from glassq.config.effective import effective
from glassq.errors import BadConfiguration

SECRET = "hunter2-is-no-number"
FILE = """\
store:
  url: redis://:pw@localhost/0
queues:
  mail.out: {max_length: 10}
  parcels:
workers:
  - name: night-1
    queues: [mail.out]
  - name: day
"""

Loaded = Callable[..., dict[str, Any]]


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """The settings of a text in an environment."""

    def read(text: str, **environ: str) -> dict[str, Any]:
        file = tmp_path / "glassq.yaml"
        file.write_text(text)
        return load(file, environ).to_dict()

    return read


@pytest.mark.parametrize(
    ("written", "environ", "value"),
    [
        ("drain: ${DRAIN}", {"DRAIN": "15"}, 15.0),
        ("drain: ${DRAIN}", {"DRAIN": "15s"}, 15.0),
        ("drain: ${DRAIN:-2m}", {}, 120.0),
        ("drain: ${DRAIN:-2m}", {"DRAIN": ""}, 120.0),
        ("drain: ${N}m", {"N": "2"}, 120.0),
        ("health_file: ${DIR}/${NAME}.health", {"DIR": "run", "NAME": "a"}, "run/a.health"),
        ("health_file: a$b", {"b": "c"}, "a$b"),
        ("health_file: a$${b}", {"b": "c"}, "a${b}"),
        ("health_file: ${A}", {"A": "${B}", "B": "c"}, "${B}"),
        ("health_file: ${A:-}", {}, None),
        ("health_file: ${A}", {"A": ""}, None),
        ("http: {port: '${PORT}'}", {"PORT": "80"}, {"port": 80}),
        ("queues: {a: {max_payload: '${SIZE}'}}", {"SIZE": "2KiB"}, {"a": {"max_payload": 2048}}),
        ("queues: {a: {max_length: '${SIZE}'}}", {"SIZE": "7"}, {"a": {"max_length": 7}}),
        ("retries: {retry_wait: {factor: '${F}'}}", {"F": "1.5"}, {"retry_wait": {"factor": 1.5}}),
        ("workers: [{name: a, queues: '${Q}'}]", {"Q": "x, y"}, [{"name": "a", "queues": ["x", "y"]}]),
    ],
    ids=range(16),
)
def test_variables_in_values(written: str, environ: dict[str, str], value: Any, loaded: Loaded) -> None:
    """`${NAME}` and `${NAME:-default}` are replaced once; their text is read as the field wants it."""
    assert loaded(written, **environ).get(written.partition(":")[0]) == value


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("drain: ${DRAIN}", "glassq.yaml:1: drain: needs the variable DRAIN, which is not set"),
        ("drain: ${1A}", "has a ${ that begins neither ${NAME} nor"),
        ("drain: ${A", "has a ${ that begins neither ${NAME} nor"),
        ("drain: ${A:-${B}}", "has a ${ that begins neither ${NAME} nor"),
        ("workers: [{name: a, queues: [b, '${C}']}]", "workers[0].queues[1]: needs the variable C"),
    ],
)
def test_variables_that_cannot_be_replaced(
    written: str, said: str, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that is not set is an error, not an empty text."""
    with pytest.raises(BadConfiguration) as raised:
        loaded(written)
    assert said in str(raised.value)


def test_a_dict_is_taken_as_it_is() -> None:
    """Code has the environment itself: nothing is replaced in what it passes."""
    assert from_dict({"health_file": "${HOME}"}).get("health_file") == "${HOME}"


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("GLASSQ__DRAIN", "2m", "drain", 120.0),
        ("GLASSQ__STORE__URL", "sqlite:///a.db", "store.url", "sqlite:///a.db"),
        ("GLASSQ__STORE__NODE_ID", "n", "store.node_id", "n"),
        ("GLASSQ__HTTP__PORT", "8080", "http.port", 8080),
        ("GLASSQ__LOG__LEVEL", "debug", "log.level", "debug"),
        ("GLASSQ__RETRIES__RETRY_WAIT", "3s", "retries.retry_wait", 3.0),
        ("GLASSQ__RETRIES__RETRY_WAIT__FIRST", "3s", "retries.retry_wait.first", 3.0),
        ("GLASSQ__QUEUES__PARCELS__MAX_AGE", "60", "queues.parcels.max_age", 60.0),
    ],
)
def test_variables_that_stand_for_fields(
    variable: str, text: str, path: str, value: Any, tmp_path: Path
) -> None:
    """The path in upper case, two underscores between its parts; an empty one is none."""
    file = tmp_path / "glassq.yaml"
    file.write_text(FILE)
    configuration = load(file, {variable: text, "GLASSQ_URL": "other", "GLASSQ__HEALTH_FILE": ""})
    assert configuration.get(path) == value
    assert str(configuration.origin(path)) == f"${variable}"
    assert configuration.get("health_file") is None


def test_queues_and_workers_are_found_by_their_names(loaded: Loaded) -> None:
    """What is neither letter nor digit in a name is one underscore in the variable."""
    settings = loaded(
        FILE,
        GLASSQ__QUEUES__MAIL_OUT__MAX_LENGTH="99",
        GLASSQ__WORKERS__NIGHT_1__CONCURRENCY="7",
        GLASSQ__WORKERS__NIGHT_1__QUEUES="mail.out,parcels",
        GLASSQ__WORKERS__DAY__TURN="",
    )
    assert settings["queues"]["mail.out"] == {"max_length": 99}
    assert settings["workers"] == [
        {"name": "night-1", "queues": ["mail.out", "parcels"], "concurrency": 7},
        {"name": "day"},
    ]


def test_an_empty_variable_changes_nothing(loaded: Loaded) -> None:
    """Compose files and charts pass empty variables for what nobody set: the file's value stays."""
    empty = {f"GLASSQ__{path}": "" for path in ("STORE__URL", "HTTP__TOKEN", "WORKERS__NIGHT_1__QUEUES")}
    assert loaded(FILE, **empty) == loaded(FILE)


def test_a_variable_may_make_a_mapping_of_a_single_value(loaded: Loaded) -> None:
    """A wait that the file gives as a number becomes one that grows."""
    settings = loaded("retries: {retry_wait: 10}", GLASSQ__RETRIES__RETRY_WAIT__FACTOR="3")
    assert settings["retries"] == {"retry_wait": {"factor": 3.0}}


def test_a_variable_changes_its_own_worker_alone(loaded: Loaded) -> None:
    """Two workers that share an alias share the text, not what a variable puts into one of them."""
    text = "queues: {q: &q {max_length: 1}, r: *q}\nx-c: &c {max_in_flight: 2}\n"
    text += "workers:\n- {name: a, <<: *c}\n- {name: b, <<: *c}\n"
    settings = loaded(text, GLASSQ__WORKERS__A__MAX_IN_FLIGHT="5", GLASSQ__QUEUES__R__MAX_LENGTH="9")
    assert [worker["max_in_flight"] for worker in settings["workers"]] == [5, 2]
    assert settings["queues"] == {"q": {"max_length": 1}, "r": {"max_length": 9}}


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("GLASSQ__STOER__URL", "settings: has no field STOER; did you mean 'STORE'?"),
        ("GLASSQ__STORE__ULR", "store: has no field ULR; did you mean 'URL'?"),
        ("GLASSQ__STORE", "store: has fields of its own; name one of them"),
        ("GLASSQ__DRAIN__X", "drain: is a single value; nothing follows its name"),
        ("GLASSQ__WORKERS__DAI__TURN", "workers: the file has none called DAI; did you mean 'DAY'?"),
        ("GLASSQ__WORKERS__XX__TURN", "workers: the file has none called XX; the file has night-1, day"),
        ("GLASSQ__WORKERS__DAY", "workers[1]: has fields of its own"),
        ("GLASSQ__WORKERS__DAY__SLOTS", "workers[1]: has no field SLOTS; did you mean 'CONCURRENCY'?"),
        ("GLASSQ__QUEUES__MAIL_OUT__MAX_LENGTH__X", "queues.mail.out.max_length: is a single value"),
        ("GLASSQ__", "settings: has no field ; there are APP, STORE"),
        ("GLASSQ__LOG__LEVEL__", "log.level: is a single value"),
    ],
)
def test_variables_that_lead_nowhere_are_refused(variable: str, said: str, tmp_path: Path) -> None:
    """A misspelt variable would be a setting that nobody gets, and nobody misses."""
    (tmp_path / "glassq.yaml").write_text(FILE)
    with pytest.raises(BadConfiguration) as raised:
        load(tmp_path / "glassq.yaml", {variable: "7"})
    (problem,) = raised.value.problems
    assert str(problem).startswith(f"${variable}: {said}")
    assert (problem.variable, problem.line) == (variable, None)


def test_names_that_one_variable_would_stand_for_are_told_apart(loaded: Loaded) -> None:
    """Two names that look the same in a variable cannot be set by it."""
    with pytest.raises(BadConfiguration, match=r"A_B stands for a.b and a-b; rename one of them"):
        loaded("queues: {a.b: , a-b: }", GLASSQ__QUEUES__A_B__MAX_LENGTH="3")


# -- secrets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "store: {url: 'mysql://u:SECRET@h'}",
        "store: {url: SECRET}",
        "store: {url: 'sqlite://SECRET'}",
        "store: {url: 'redis://u:SECRET/x@h/0'}",
        "store: {url: 'redis://u:1/SECRET@h/0'}",
        "store: {url: 'redis://u:1?SECRET@h/0'}",
        "store: {url: 'redis://h/0?allow_eviction=SECRET'}",
        "store: SECRET",
        "http: {port: 1, token: {SECRET: SECRET}, colour: SECRET}",
        "http: {port: 1, token: [SECRET]}",
        "http: {port: SECRET, colour: red\n  token: SECRET",
        "drain: ${S}",
        "log: {level: '${S}'}",
        "retries: {max_retries: '${S}', on_exhausted: '${S}'}",
        "queues: {a: {durability: '${S}', max_age: '${S}'}}",
        "workers: [{name: '${S} ', queues: ['${S} ']}]",
        "workers: [{name: a, concurrency: '${S}'}]",
        "app: ${S}",
        "health_file: /${S:-}\0",
    ],
    ids=range(19),
)
def test_no_error_shows_a_secret(text: str, loaded: Loaded) -> None:
    """What stands where a password may stand, and all that variables hold, stays out of messages."""
    with pytest.raises(BadConfiguration) as raised:
        loaded(text.replace("SECRET:", "secret:").replace("SECRET", SECRET), S=SECRET)
    assert SECRET not in str(raised.value)
    assert not any(SECRET in repr(problem) for problem in raised.value.problems)


@pytest.mark.parametrize(
    "path", ["DRAIN", "LOG__LEVEL", "QUEUES__PARCELS__DURABILITY", "STORE__NODE_ID", "HTTP__PORT"]
)
def test_no_error_shows_what_a_variable_holds(path: str, loaded: Loaded) -> None:
    """The variable is named, and that is enough to find it."""
    with pytest.raises(BadConfiguration) as raised:
        loaded(FILE, **{f"GLASSQ__{path}": SECRET + "!"})
    assert f"$GLASSQ__{path}: " in str(raised.value)
    assert SECRET not in str(raised.value)


def test_what_is_in_force_has_no_secret(tmp_path: Path) -> None:
    """`config show` has the store's address, and that there is a token, and neither password nor token."""
    file = tmp_path / "glassq.yaml"
    file.write_text(FILE + f"http: {{port: 1, token: {SECRET}}}\n")
    shown = {
        setting.path: setting
        for setting in effective(load(file, {"GLASSQ__STORE__URL": f"redis://:{SECRET}@h/1"}))
    }
    assert SECRET not in repr(shown)
    assert shown["store.url"].value == "redis://h:6379/1"
    assert shown["store.url"].origin == "$GLASSQ__STORE__URL"
    assert shown["http.token"].value == "***"
    assert shown["http.token"].origin == f"{file}:10"
    assert (shown["workers[1].concurrency"].value, shown["workers[1].concurrency"].origin) == (4, "default")
