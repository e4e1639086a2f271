"""The command line as a stranger meets it: help, exit codes, and errors in one line that say what to do."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from glassq.app import Glassq
from glassq.cli import main
from glassq.cli.targets import Address, BadTarget, load_application
from glassq.cli.worker import chosen_queues
from glassq.cli.workerlogs import TextFormatter
from glassq.cli.working import read_token
from glassq.errors import ConfigurationError

Capture = pytest.CaptureFixture[str]

SHOP = """
from glassq.app import Glassq

app = Glassq("sqlite:///shop.db")
other = 17

@app.fifo("payments", key="order")
def charge(order: str) -> None: ...

@app.fifo("mails")
def greet(name: str) -> None: ...
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; what commands do to this process is undone afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(root, "level", root.level)
    return tmp_path


def write(directory: Path, name: str, source: str) -> None:
    """A module in the working directory."""
    (directory / f"{name}.py").write_text(textwrap.dedent(source))


def python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, for what this one has already imported."""
    return subprocess.run(
        [sys.executable, *code.split("\0")], cwd=cwd, capture_output=True, text=True, check=False
    )


# -- help and exit codes ---------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command_and_the_exit_codes(arguments: list[str], capsys: Capture) -> None:
    """A stranger who types `glassq` sees what there is and what the exit codes mean."""
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    for word in (
        "demo",
        "worker",
        "stats",
        "dead",
        "halted",
        "pause",
        "cancel",
        "health",
        "Exit codes: 0 done, 1 failed, 2 wrong usage",
    ):
        assert word in shown


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "worker",
        "config",
        "config check",
        "config show",
        "stats",
        "peek",
        "job",
        "workflow",
        "dead",
        "dead list",
        "dead show",
        "dead replay",
        "dead purge",
        "halted",
        "halted list",
        "halted retry",
        "halted skip",
        "pause",
        "resume",
        "cancel",
        "purge",
        "telemetry selftest",
        "health",
    ],
)
def test_each_command_explains_itself_with_examples(command: str, capsys: Capture) -> None:
    """`--help` of every command shows how it is called, by example."""
    assert main([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out.lower()
    assert "examples" in shown
    assert f"glassq {command}" in shown


def test_version(capsys: Capture) -> None:
    """`--version` prints one line."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("glassq 0.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["wrker"], "there is no command 'wrker'; did you mean 'worker'? (see 'glassq --help')"),
        (["xyz"], "there is no command 'xyz' (see 'glassq --help')"),
        (["worker"], "Missing argument 'MODULE:APP' (see 'glassq worker --help')"),
        (["worker", "a:b", "--concurency", "3"], "--concurrency"),
        (["worker", "a:b", "--concurrency", "0"], "0 is not in the range"),
        (["worker", "a:b", "--http", "9464x"], "'9464x' is not HOST:PORT, for example 127.0.0.1:9464"),
        (["stats", "--url", "mysql://x"], "no store answers to mysql://"),
        (["stats", "--url", "jobs.db"], "it has no scheme before"),
        (["stats", "--url", "sqlite://"], "lives in one process's memory"),
        (["stats"], "there is no file glassq.db; name the store with --url or MODULE:APP"),
        (["stats", "--top", "3"], "--top is about keys; add --keys (see 'glassq stats --help')"),
        (["stats", "--keys"], "--keys is about one queue; name it, and no other"),
        (["stats", "a", "b", "--workers"], "--workers is about one queue; name it, and no other"),
        (["stats", "a", "--keys", "--workers"], "--keys and --workers are two tables; ask for one"),
        (["stats", "a", "--keys", "--by", "size"], "'size' is not one of 'depth', 'age', 'blocked'"),
        (["peek", "payments"], "there is no file glassq.db"),
        (["peek"], "Missing argument 'QUEUE' (see 'glassq peek --help')"),
        (["purge"], "Missing argument 'QUEUE' (see 'glassq purge --help')"),
        (["dead", "lst"], "there is no command 'lst'; did you mean 'list'? (see 'glassq dead --help')"),
        (["dead", "show", "payments"], "'payments' is not a job's id"),
        (["dead", "replay", "payments", "--to", "middle"], "'middle' is not one of 'front', 'tail'"),
        (["halted", "skip", "payments", "--key", ""], "an ordering key has 1 to 512 characters"),
        (["demo", "--seconds", "0"], "0.0 is not in the range"),
        (["demo", "--url", "sqlite://"], "a store in memory serves one process"),
        (["health"], "--live --ready"),
        (["health", "--live", "--ready"], "not allowed with"),
        (["health", "--live"], "name the worker's health file with --file or $GLASSQ_HEALTH_FILE"),
        (
            ["health", "--live", "--file", "f", "--max-age", "soon"],
            "'soon' is not a number of seconds above 0",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, here: Path, capsys: Capture
) -> None:
    """Whatever is wrong with a command line is said in one line on standard error; nothing is created."""
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1
    assert list(here.iterdir()) == []


# -- MODULE:APP ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("shop", "'shop' is not MODULE:APP, for example shop.jobs:app"),
        ("shop.py:app", "name the module, not its file: shop:app"),
        ("./jobs/shop.py", "name the module, not its file: jobs.shop:app"),
        ("nowhere:app", "there is no module 'nowhere' in "),
        ("nowhere.jobs:app", "there is no module 'nowhere' in "),
        ("shop:ap", "shop has no 'ap'; did you mean shop:app?"),
        ("shop:app.x", "shop has no 'app.x'"),
        ("shop:charge", "shop:charge is a Task, not a Glassq application; did you mean shop:app?"),
        ("shop:other", "shop:other is a int, not a Glassq application; did you mean shop:app?"),
        ("bare:app", "bare has no 'app'; it defines no application (app = Glassq())"),
        ("leaves:app", "leaves ends the process when it is imported"),
    ],
)
def test_a_target_that_leads_nowhere_says_why(target: str, said: str, here: Path) -> None:
    """Each way a target can be wrong has its own sentence, and the nearest right one where there is one."""
    write(here, "shop", SHOP)
    write(here, "bare", "")
    write(here, "leaves", "import sys\nsys.exit()")
    with pytest.raises(BadTarget) as raised:
        load_application(target)
    assert said in raised.value.message


def test_a_target_is_found_in_the_working_directory(here: Path) -> None:
    """`glassq worker shop:app` works next to shop.py, as `python -m shop` would."""
    write(here, "shop", SHOP)
    assert isinstance(load_application("shop:app"), Glassq)
    assert not (here / "shop.db").exists()


def test_a_module_that_raises_shows_its_own_traceback_and_nothing_else(here: Path, capsys: Capture) -> None:
    """The author sees the line that failed, not ours and not those of the import machinery."""
    write(here, "broken", "def load():\n    raise RuntimeError('no settings')\n\nload()\n")
    assert main(["worker", "broken:app"]) == 2
    error = capsys.readouterr().err
    assert "broken.py" in error
    assert "RuntimeError: no settings" in error
    assert error.endswith("error: broken cannot be imported: RuntimeError, see above\n")
    assert "targets.py" not in error
    assert "importlib" not in error


def test_a_missing_dependency_of_the_module_is_not_taken_for_the_module(here: Path, capsys: Capture) -> None:
    """`import requests_missing` inside the target names that package and shows where it is imported."""
    write(here, "needy", "import requests_missing\n")
    assert main(["worker", "needy:app"]) == 2
    error = capsys.readouterr().err
    assert "needy.py" in error
    assert error.endswith("error: needy imports 'requests_missing', which is not installed\n")


def test_a_bad_option_in_the_target_shows_where(here: Path, capsys: Capture) -> None:
    """A decorator's mistake is shown with its line in the user's file."""
    write(here, "wrong", "from glassq.app import Glassq\napp = Glassq()\napp.fifo('q', max_retrys=3)\n")
    assert main(["worker", "wrong:app"]) == 2
    error = capsys.readouterr().err
    assert "max_retrys: is not an option of a task; did you mean 'max_retries'?" in error
    assert 'wrong.py", line 3' in error


# -- the worker's options --------------------------------------------------------------------------


def test_queues_are_all_or_those_named(here: Path) -> None:
    """Without names a worker serves every queue of the application, else the named ones."""
    write(here, "shop", SHOP)
    app = load_application("shop:app")
    assert chosen_queues(app, None) == ["payments", "mails"]
    assert chosen_queues(app, " mails ,payments") == ["mails", "payments"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("payment", "no queue 'payment'; did you mean 'payments'?"),
        ("zzz", "no queue 'zzz'; its queues: payments, mails"),
        (",", "--queues names none; the application's queues: payments, mails"),
    ],
)
def test_a_misspelt_queue_is_refused(wanted: str, said: str, here: Path) -> None:
    """A worker that waits for a queue nobody fills would look healthy for ever."""
    write(here, "shop", SHOP)
    with pytest.raises(ConfigurationError, match="queue") as raised:
        chosen_queues(load_application("shop:app"), wanted)
    assert said in str(raised.value)


def test_an_application_without_queues_is_refused(here: Path) -> None:
    """Most likely its tasks are in a module that was not imported; the message says so."""
    write(here, "empty", "from glassq.app import Glassq\napp = Glassq()\n")
    with pytest.raises(ConfigurationError, match="does the module import its tasks"):
        chosen_queues(load_application("empty:app"), None)


def test_the_http_token_comes_from_the_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file wins, its line end is not part of the token, and an empty file is refused."""
    file = tmp_path / "token"
    assert read_token(None) is None
    monkeypatch.setenv("GLASSQ_HTTP_TOKEN", "from-environment")
    assert read_token(None) == "from-environment"
    file.write_text("from-file\n")
    assert read_token(file) == "from-file"
    file.write_text("\n")
    with pytest.raises(ConfigurationError, match="is empty"):
        read_token(file)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        (":0", ("127.0.0.1", 0)),
        ("[::1]:80", ("::1", 80)),
        ("example.org:65535", ("example.org", 65535)),
    ],
)
def test_addresses(text: str, parsed: tuple[str, int]) -> None:
    """HOST:PORT, with loopback as the host nobody named and brackets around IPv6."""
    assert Address().convert(text, None, None) == parsed


def test_a_text_log_line_ends_with_the_job_and_the_trace_it_belongs_to() -> None:
    """A line logged inside a job carries its ids, a line outside carries nothing in their place."""
    record = logging.makeLogRecord({"name": "shop", "levelname": "INFO", "msg": "charged"})
    assert TextFormatter().format(record).endswith("INFO    shop: charged")
    record.glassq_job_id, record.trace_id = "payments/p:1", "ab12"
    assert TextFormatter().format(record).endswith("shop: charged [job payments/p:1, trace ab12]")


# -- stats -----------------------------------------------------------------------------------------


@pytest.fixture
def shop(here: Path) -> Path:
    """A store with three payments waiting and an idle queue of mails with one settled job."""
    write(here, "shop", SHOP)
    with load_application("shop:app") as app:
        module = sys.modules["shop"]
        module.greet("ada")
        assert app.worker(queues=["mails"]).run_until_idle(timeout=20)
        for order in ("o-1", "o-2", "o-2"):
            module.charge(order)
    del sys.modules["shop"]
    return here


@pytest.mark.parametrize("where", [["shop:app"], ["--url", "sqlite:///shop.db"]])
def test_stats_shows_all_queues_of_a_store(where: list[str], shop: Path, capsys: Capture) -> None:
    """Through the application or by URL, every queue is listed with what is in it."""
    assert main(["stats", *where]) == 0
    heading, mails, payments = capsys.readouterr().out.splitlines()
    assert heading.split()[:6] == ["queue", "depth", "ready", "running", "retry", "halted"]
    assert mails.split()[:3] == ["mails", "0", "0"]
    assert mails.split()[-1] == "1"
    assert payments.split()[:3] == ["payments", "3", "3"]


def test_stats_as_json_has_every_field(shop: Path, capsys: Capture) -> None:
    """Programs get the numbers under the names of the metrics, for the queues they ask for."""
    assert main(["stats", "--json", "shop:app", "payments", "never"]) == 0
    payments, never = json.loads(capsys.readouterr().out)
    assert (payments["queue"], payments["depth"], payments["ready"]) == ("payments", 3, 3)
    assert payments["lanes"]["ready"] == 2
    assert (never["queue"], never["depth"]) == ("never", 0)


def test_stats_of_an_empty_store(here: Path, capsys: Capture) -> None:
    """A store nobody has used yet is said to be empty, not shown as an empty table."""
    write(here, "shop", SHOP)
    assert main(["stats", "shop:app"]) == 0
    assert "no queues yet" in capsys.readouterr().out


# -- what is imported, and what is missing ---------------------------------------------------------


def test_the_health_probe_imports_nothing_but_the_standard_library(tmp_path: Path) -> None:
    """A probe that runs every few seconds must not load the queue, its store or its telemetry."""
    ended = python("-X\0importtime\0-m\0glassq\0health\0--live\0--file\0missing", tmp_path)
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if "|" in line}
    assert ended.returncode == 1
    assert "glassq.cli.probe" in imported
    heavy = {
        "click",
        "rich",
        "redis",
        "opentelemetry",
        "prometheus_client",
        "msgspec",
        "sqlite3",
        "glassq.app",
    }
    assert imported & heavy == set()


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_its_extra_the_command_line_says_how_to_install_it(package: str, tmp_path: Path) -> None:
    """One line with the exact command, and exit code 2; the health probe goes on working."""
    run = "from glassq.cli import main; sys.exit(main(sys.argv[1:]))"
    block = f"import sys; sys.modules[{package!r}] = None; {run}"
    ended = python(f"-c\0{block}\0stats", tmp_path)
    assert ended.returncode == 2
    assert ended.stderr == "error: the command line needs an optional package: pip install 'glassq[cli]'\n"
    assert python(f"-c\0{block}\0health\0--live\0--file\0missing", tmp_path).returncode == 1


@pytest.mark.parametrize(
    ("package", "extras"),
    [("uvicorn", "cli,server"), ("opentelemetry.exporter.otlp.proto.http", "cli,otel")],
)
@pytest.mark.parametrize(
    ("command", "feature"), [("demo", "the demo"), ("telemetry selftest", "the self-test")]
)
def test_without_its_extras_a_command_says_how_to_install_them(
    package: str,
    extras: str,
    command: str,
    feature: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    """It names all that it needs in one command, and begins nothing."""
    monkeypatch.setitem(sys.modules, package, None)
    assert main(command.split()) == 2
    assert (
        capsys.readouterr().err
        == f"error: {feature} needs an optional package: pip install 'glassq[{extras}]'\n"
    )


@pytest.mark.parametrize("group", ["dead", "halted", "rules", "dashboards", "telemetry"])
def test_a_group_alone_shows_its_commands(group: str, capsys: Capture) -> None:
    """Its help as it stands, where errors go, and wrong usage for a program that forgot the rest."""
    assert main([group]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"Usage: glassq {group} ")
    assert "error" not in told.err
