"""What a configuration may say, and that all that is wrong is said with its place, its path and a way out."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from glassq.app import Glassq
from glassq.config import Configuration, from_dict, load
from glassq.config.fields import CONFIGURATION, QUEUE, RETRIES, WORKER
from glassq.config.kinds import TEXT, TRUTH, WHOLE, Kind
from glassq.config.reading import Reader
from glassq.config.shapes import Field, Group
from glassq.config.tree import CODE, Node, plant
from glassq.errors import BadConfiguration, BadOption, BadSetting, ConfigurationError
from glassq.policy.retry import Backoff
from glassq.registry import QueueOption, QueueOptions, TaskDefault, TaskDefaults
from glassq.serving import LifespanOption
from glassq.worker.options import WorkerOption, WorkerOptions

TWO_WORKERS = """\
app: shop:app
store:
  url: sqlite:///shop.db
  lease_seconds: 20s
retries:
  max_retries: 5
  retry_wait: {first: 500ms, cap: 5m}
queues:
  payments: {max_length: 1000, max_age: 60, max_payload: 64KiB}
  mails:
  parcels:
workers:
  - name: payments
    queues: [payments, parcels]
    concurrency: 8
  - name: mails
    queues: [mails, parcels]
    max_in_flight: 4
http:
  port: 9464
drain: 30
log: {level: debug}
"""

Said = Callable[[str], list[str]]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Said:
    """All that is said about a text, as the lines of `glassq.yaml`."""
    monkeypatch.chdir(tmp_path)

    def refused(text: str) -> list[str]:
        Path("glassq.yaml").write_text(textwrap.dedent(text), encoding="utf-8")
        with pytest.raises(BadConfiguration) as raised:
            load("glassq.yaml", {})
        assert isinstance(raised.value, ConfigurationError)
        assert all(problem.file == "glassq.yaml" and problem.line for problem in raised.value.problems)
        return str(raised.value).splitlines()

    return refused


def read(folder: Path, text: str, **environ: str) -> Configuration:
    """What a good text amounts to."""
    file = folder / "glassq.yaml"
    file.write_text(textwrap.dedent(text), encoding="utf-8")
    return load(file, environ)


# -- what is accepted ------------------------------------------------------------------------------


def test_two_workers_may_share_what_they_serve(tmp_path: Path) -> None:
    """A file of several workers, each with queues of its own and one that both serve, is no mistake."""
    configuration = read(tmp_path, TWO_WORKERS)
    assert configuration.warnings == ()
    with configuration.application() as app:
        workers = configuration.workers(app)
        assert {name: worker.queues for name, worker in workers.items()} == {
            "payments": ("payments", "parcels"),
            "mails": ("mails", "parcels"),
        }
        assert [worker.concurrency for worker in workers.values()] == [8, 4]


def test_everything_reaches_the_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store, retries and options of queues are in force for tasks declared before and after; what a decorator
    says of its task stays."""
    monkeypatch.chdir(tmp_path)
    app = Glassq("sqlite:///other.db")
    app.fifo("payments", name="early")(lambda: None)
    read(tmp_path, TWO_WORKERS).apply(app)
    app.fifo("mails", name="late", max_retries=1)(lambda: None)
    early, late = app.registry.task("early"), app.registry.task("late")
    assert app.address.endswith("shop.db")
    assert (early.max_retries, late.max_retries) == (5, 1)
    assert early.retry_wait == late.retry_wait == Backoff(first=0.5, cap=300)
    assert app.registry.options("payments") == QueueOptions(max_length=1000, max_age=60, max_payload=65536)
    assert app.worker()._options.lease_seconds == 20


def test_applying_twice_changes_nothing_and_moving_later_is_refused(tmp_path: Path) -> None:
    """An application made from a file may be run with that file; one that is at work cannot be moved."""
    configuration = from_dict({"store": {"url": f"sqlite:///{tmp_path}/a.db"}})
    with configuration.application() as app:
        app.storage.queues()
        configuration.apply(app)
        with pytest.raises(ConfigurationError, match="already uses"):
            from_dict({"store": {"url": f"sqlite:///{tmp_path}/b.db"}}).apply(app)


def test_an_empty_dict_is_one_worker_for_everything(tmp_path: Path) -> None:
    """Every field may be left out."""
    configuration = from_dict({})
    with Glassq(f"sqlite:///{tmp_path}/a.db") as app:
        app.queue("q")
        ((name, worker),) = configuration.workers(app).items()
        assert (name, worker.queues, worker.concurrency) == ("worker", ("q",), 4)


def test_one_of_the_workers_can_be_chosen() -> None:
    """A name that is none of theirs is answered with the nearest."""
    configuration = from_dict({"workers": [{"name": "mails"}, {"name": "pay"}]})
    app = Glassq("sqlite://")
    assert list(configuration.workers(app, "pay")) == ["pay"]
    with pytest.raises(ConfigurationError, match="no worker 'mail'; did you mean 'mails'"):
        configuration.workers(app, "mail")
    with pytest.raises(ConfigurationError, match="there are mails, pay"):
        configuration.workers(app, "xyz")


def test_plain_words_are_what_they_look_like(tmp_path: Path) -> None:
    """Names that other readers of YAML take for truth values, octal or base-60 numbers stay text, and so does
    what stands in quotes."""
    configuration = read(tmp_path, "queues: {on: {}, 'no': {}, '7': {}, 010: {}, 22:22: {}}")
    assert list(configuration.get("queues")) == ["on", "no", "7", "010", "22:22"]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("15", 15), ("0.5", 0.5), ("15s", 15), ("500ms", 0.5), ("2m", 120), ("1.5 h", 5400), ("1d", 86400)],
)
def test_times_may_have_a_unit(tmp_path: Path, written: str, seconds: float) -> None:
    """Seconds, or a number with its unit."""
    assert read(tmp_path, f"drain: {written}").get("drain") == seconds


def test_aliases_and_merges_work_and_x_names_are_free(tmp_path: Path) -> None:
    """What several workers have in common is written once; what stands beside it wins."""
    configuration = read(
        tmp_path,
        """
        x-common: &common {concurrency: 2, max_in_flight: 3}
        x-other: &other {max_in_flight: 9, window: 5}
        workers:
          - name: a
            <<: [*common, *other]
            concurrency: 7
          - {name: b, <<: *common}
        """,
    )
    assert configuration.get("workers") == [
        {"name": "a", "concurrency": 7, "window": 5, "max_in_flight": 3},
        {"name": "b", "concurrency": 2, "max_in_flight": 3},
    ]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.yml", "drain: 5\nworkers:\n- name: a\n"),
        ("a.toml", 'drain = 5\n[[workers]]\nname = "a"\n'),
        ("a.json", '{"drain": 5, "workers": [{"name": "a"}]}'),
        ("a.JSON", '\ufeff{"drain": 5, "workers": [{"name": "a"}]}'),
    ],
)
def test_each_language_says_the_same(tmp_path: Path, file: str, text: str) -> None:
    """YAML, TOML and JSON lead to one configuration, and so does a dict."""
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert load(tmp_path / file, {}) == from_dict({"drain": 5, "workers": [{"name": "a"}]})


def test_what_is_typed_goes_over_what_is_written() -> None:
    """Groups are laid over field by field, everything else is replaced; the result is checked again."""
    configuration = from_dict({"log": {"level": "debug", "format": "json"}, "drain": 3})
    over = configuration.over({"log": {"level": "error"}, "drain": 4})
    assert over.to_dict() == {"log": {"level": "error", "format": "json"}, "drain": 4}
    with pytest.raises(BadConfiguration, match="drain: is seconds"):
        configuration.over({"drain": float("nan")})


# -- the table is complete -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "options", "not_its_own"),
    [(QUEUE, QueueOptions, set()), (WORKER, WorkerOptions, {"name"}), (RETRIES, TaskDefaults, set())],
)
def test_every_option_has_a_row(group: Any, options: Any, not_its_own: set[str]) -> None:
    """An option that is added to queues, workers or tasks' defaults gets its row in the table, too: in its
    group, or above all groups."""
    above = {field.name for field in CONFIGURATION.fields} & set(options.__struct_fields__)
    named = {field.name for field in group.fields} - not_its_own
    assert named | above == set(options.__struct_fields__)


@pytest.mark.parametrize(
    ("told", "options", "elsewhere"),
    [
        (QueueOption, QueueOptions, set()),
        (TaskDefault, TaskDefaults, set()),
        (WorkerOption, WorkerOptions, {"queues", "concurrency"}),
    ],
)
def test_type_checkers_know_every_option(told: Any, options: Any, elsewhere: set[str]) -> None:
    """What is told to them has the same names and types. It may leave out None, which then is no value to
    give, and takes lists where tuples are kept."""
    types, kept = get_type_hints(told), get_type_hints(options)
    assert types.keys() | elsewhere == kept.keys()
    for name, declared in types.items():
        given, stored = ({*get_args(each)} or {each} for each in (declared, kept[name]))
        if kept[name] == tuple[str, ...]:
            assert given == {list[str], tuple[str, ...]}
        else:
            assert stored - {type(None)} == given - {type(None)}, name


def test_a_lifespan_takes_what_its_worker_takes() -> None:
    """Type checkers know the arguments of `async_worker` there, too."""
    named = inspect.signature(Glassq.async_worker).parameters.keys() - {"self", "options"}
    assert get_type_hints(LifespanOption).keys() == get_type_hints(WorkerOption).keys() | named


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("drian: 5", "1: drian: is not a field; did you mean 'drain'?"),
        (
            "workers:\n- name: a\n  slots: 3",
            "3: workers[0].slots: is not a field; did you mean 'concurrency'?",
        ),
        ("store:\n  Url: x", "2: store.Url: is not a field; did you mean 'url'?"),
        ("http: {port: 1}\nlog:\n  colour: red", "3: log.colour: is not a field; there are format, level"),
        (
            "store: redis://h",
            "1: store: is a mapping with fields (url, lease_seconds, node_id), got a single value",
        ),
        ("store:\n- a", "2: store: is a mapping with fields (url, lease_seconds, node_id), got a list"),
        (
            "workers: {name: a}",
            "1: workers: is a list of mappings, each beginning with `- name:`, got a mapping",
        ),
        ("queues: [a]", "1: queues: is a mapping from names to fields, got a list"),
        ("workers:\n- a", "2: workers[0]: is a mapping with fields (name, queues"),
        ("workers: []", "1: workers: has no worker; leave it out for one that serves all queues"),
        ("workers:\n- max_in_flight: 1", "2: workers[0].name: is missing"),
        ("http: {}", "1: http.port: is missing"),
        ("workers:\n- {name: a}\n- {name: a}", "3: workers[1].name: a is the name of workers[0] already"),
        ("workers:\n- {name: a b}", "2: workers[0].name: 'a b' is not a name; use 1 to 128 of"),
        ("workers:\n- {name: 7}", "2: workers[0].name: is text, got 7; put it in quotes"),
        ("queues:\n  a/b:", "2: queues.a/b: 'a/b' is not a name"),
        (
            "queues: {mails: }\nworkers:\n- name: a\n  queues:\n  - mials",
            "5: workers[0].queues[0]: 'mials' is not among queues; did you mean 'mails'?",
        ),
        (
            "queues: {mails: }\nworkers:\n- {name: a, queues: [pay]}",
            "3: workers[0].queues[0]: 'pay' is not among queues; list it there (`pay: {}`)",
        ),
        ("workers:\n- {name: a, queues: []}", "2: workers[0].queues: names no queue; leave it out"),
        ("workers:\n- {name: a, queues: [b, b]}", "2: workers[0].queues: names b twice"),
        (
            "workers:\n- {name: a, queues: b}",
            "2: workers[0].queues: is a list, each text, got a single value",
        ),
        ("workers:\n- {name: a, queues: [1]}", "2: workers[0].queues[0]: is text, got 1; put it in quotes"),
        (
            "workers:\n- {name: a, concurrency: 0}",
            "2: workers[0].concurrency: is a whole number from 1 up, got 0",
        ),
        (
            "workers:\n- {name: a, concurrency: '3'}",
            "2: workers[0].concurrency: is a whole number, got '3'; leave",
        ),
        (
            "workers:\n- {name: a, concurrency: yes}",
            "2: workers[0].concurrency: is a whole number, got 'yes'",
        ),
        (
            "workers:\n- {name: a, concurrency: true}",
            "2: workers[0].concurrency: is a whole number, got True",
        ),
        ("workers:\n- {name: a, concurrency: 1.5}", "2: workers[0].concurrency: is a whole number, got 1.5"),
        ("workers:\n- {name: a, window: 010}", "2: workers[0].window: is a whole number, got '010'"),
        (
            "workers:\n- {name: a, lease_seconds: 0.5}",
            "2: workers[0].lease_seconds: is at least 1 second, got 0.5",
        ),
        ("drain: 15 sec", "1: drain: is seconds, as a number or with a unit (ms, s, m, h, d, w)"),
        ("drain: 1m30s", "1: drain: is seconds, as a number or with a unit"),
        ("drain: '15'", "1: drain: is seconds, as a number or with a unit"),
        ("drain: -1", "1: drain: is seconds from 0 up"),
        ("drain: .nan", "1: drain: is seconds, as a number or with a unit"),
        ("drain: .inf", "1: drain: is seconds, as a number or with a unit"),
        ("drain: 1.0e+999", "1: drain: is seconds from 0 up, at most 3,155,760,000; got inf"),
        ("drain: 9999999999999999999999", "1: drain: is seconds, as a number or with a unit"),
        (
            "queues: {a: {max_age: 7}}",
            "1: queues.a.max_age: is a bound that waiting times are counted between",
        ),
        (
            "queues: {a: {max_payload: 1KB}}",
            "1: queues.a.max_payload: is a whole number of bytes, or with a unit",
        ),
        ("queues: {a: {max_length: -5}}", "1: queues.a.max_length: is a whole number from 1 up, got -5"),
        ("queues: {a: {on_unknown: hlat}}", "is one of halt, bury, got 'hlat'; did you mean 'halt'?"),
        ("queues: {a: {durability: disk}}", '1: queues.a.durability: is "memory" or "replicated:N"'),
        ("retries: {max_retries: -2}", "1: retries.max_retries: is a whole number from 0 up, or -1 for ever"),
        (
            "retries:\n  retry_wait:\n    fist: 3",
            "3: retries.retry_wait.fist: is not a field; did you mean 'first'?",
        ),
        ("retries:\n  retry_wait: {factor: 0.5}", "2: retries.retry_wait: Backoff needs first and cap"),
        (
            "retries:\n  retry_wait: {factor: 1.0e+300}",
            "2: retries.retry_wait.factor: is a number that can be counted",
        ),
        ("app: shop", "1: app: is MODULE:APP, for example shop.jobs:app"),
        ("http: {port: 65536}", "1: http.port: is a port, from 0 (any free one) to 65535, got 65536"),
        ("http: {port: 1, token: a, token_file: b}", "1: http.token_file: and http.token exclude each other"),
        ("store: {url: mysql://h}", "1: store.url: no store answers to mysql://"),
        (
            "store: {url: 'redis://h?namespase=x'}",
            "namespase is not an option of a redis:// URL; did you mean 'namesp",
        ),
        ("log: {level: loud}", "1: log.level: is one of debug, info, warning, error, got 'loud'"),
        ("health_file: /", "1: health_file: is the path of a file, got '/'"),
    ],
)
def test_a_mistake_is_said_with_its_line_its_path_and_a_way_out(text: str, expected: str, said: Said) -> None:
    """One mistake, one line: FILE:LINE, the field's whole path, what is wrong, the nearest word."""
    (line,) = said(text)
    assert line.startswith("glassq.yaml:")
    assert expected in line


def test_all_mistakes_are_said_at_once_in_the_order_of_the_file(said: Said) -> None:
    """Whoever mends a file sees everything that is to be mended."""
    lines = said(
        """\
        drian: 5
        workers:
          - name: a
            max_in_flight: fast
            windw: 3
            max_in_flight: 4
        log: 7
        """
    )
    assert [line.partition(": ")[0] for line in lines] == [
        f"glassq.yaml:{number}" for number in (1, 4, 5, 6, 7)
    ]
    assert "workers[0].max_in_flight: stands twice, first in line 4" in lines[3]


def test_each_option_that_its_record_refuses_is_named(said: Said) -> None:
    """Options that are checked together are refused one by one, each at its own line."""
    assert said(
        "workers:\n- name: a\n  concurrency: 0\n  window: -1\n  lease_seconds: 0.5\n  max_crashes: 3\n"
    ) == [
        "glassq.yaml:3: workers[0].concurrency: is a whole number from 1 up, got 0",
        "glassq.yaml:4: workers[0].window: is a whole number from 1 up, got -1",
        "glassq.yaml:5: workers[0].lease_seconds: is at least 1 second, got 0.5",
    ]


def test_options_that_do_not_go_together_are_refused_where_their_group_begins() -> None:
    """An error about an option that is not there is one about those that are."""

    def check(values: Mapping[str, Any]) -> None:
        if "port" not in values:
            raise BadOption("port", "is needed with host")

    problems: list[BadSetting] = []
    group = Group((Field("host", TEXT, "A host."), Field("port", WHOLE, "A port.")), check)
    Reader(problems).read(plant({"host": "h"}, CODE), group)
    assert [str(problem) for problem in problems] == ["settings: port is needed with host"]


def test_errors_have_their_parts_apart() -> None:
    """Programs read path and nearest name without taking the message apart."""
    with pytest.raises(BadConfiguration) as raised:
        from_dict({"workers": [{"name": "a", "slots": 3}]})
    (problem,) = raised.value.problems
    assert isinstance(problem, BadSetting)
    assert isinstance(problem, BadOption)
    assert (problem.option, problem.problem, problem.nearest) == (
        "workers[0].slots",
        "is not a field",
        "concurrency",
    )
    assert (problem.file, problem.line, problem.variable) == (None, None, None)
    assert str(problem) == "workers[0].slots: is not a field; did you mean 'concurrency'?"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({7: 1}, "settings: has the name 7; names are text"),
        ({"drain": {1, 2}}, "drain: has a set; use text, numbers, lists and mappings"),
        ({"drain": True}, "drain: is seconds, as a number"),
        ({"drain": float("nan")}, "drain: is seconds from 0 up"),
        ({"drain": 10**400}, "drain: is seconds from 0 up"),
        ({"a\x1b[2J": 1}, "'a\\x1b[2J': is not a field"),
    ],
)
def test_a_dict_is_checked_as_a_file_is(settings: dict[Any, Any], expected: str) -> None:
    """What only code can pass is refused as well, and nothing reaches the terminal that it would act on."""
    with pytest.raises(BadConfiguration) as raised:
        from_dict(settings)
    assert expected in str(raised.value)


def test_a_structure_without_end_is_refused() -> None:
    """A dict that contains itself is too deep, not an endless loop."""
    settings: dict[str, Any] = {}
    settings["store"] = settings
    with pytest.raises(BadConfiguration, match="more than 20 levels deep"):
        from_dict(settings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "queues: {a: , b: }\nworkers:\n- {name: w, queues: [a]}",
            "glassq.yaml:1: queues.b: no worker of this configuration serves it",
        ),
        ("http: {port: 1, host: 0.0.0.0}", "glassq.yaml:1: http.host: can be reached from other machines"),
    ],
)
def test_what_is_only_odd_is_a_warning(text: str, expected: str, tmp_path: Path) -> None:
    """It may be meant so: another process may serve the queue, or the token come later."""
    (warning,) = read(tmp_path, text).warnings
    assert expected in str(warning)


def test_queues_that_the_application_does_not_declare_are_refused(tmp_path: Path) -> None:
    """A misspelt queue would get options, and a worker, and never a job."""
    app = Glassq("sqlite://")
    app.queue("payments")
    with pytest.raises(BadConfiguration) as raised:
        read(tmp_path, "queues:\n  paymnts:").match(app)
    assert "glassq.yaml:2: queues.paymnts: the application declares no queue 'paymnts'" in str(raised.value)
    assert raised.value.problems[0].nearest == "payments"
    with pytest.raises(
        BadConfiguration, match=r"workers\[0\].queues\[1\]: the application declares no queue 'x'"
    ):
        from_dict({"workers": [{"name": "a", "queues": ["payments", "x"]}]}).match(app)


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "True ", "1", 1, 0, None])
def test_truth_is_true_or_false(word: Any) -> None:
    """Words that some readers take for truth are refused where truth is asked for, with the words to use."""
    with pytest.raises(BadOption, match="is true or false"):
        TRUTH.read(Node(word))
    if word in ("yes", "no", "on", "off"):
        with pytest.raises(BadOption, match="write true or false, without quotes"):
            TRUTH.read(Node(word))


@pytest.mark.parametrize(
    ("kind", "node", "value"),
    [
        (TRUTH, Node(True), True),
        (TRUTH, Node(False), False),
        (TRUTH, Node("true", loose=True), True),
        (TRUTH, Node("false", loose=True), False),
    ],
)
def test_truth_is_read(kind: Kind, node: Node, value: bool) -> None:
    """As itself, and as a word from the environment."""
    assert kind.read(node) is value
