"""`export DIR`: files that come with glassq become the user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest

from glassq.cli.exporting import export, packaged

Capture = pytest.CaptureFixture[str]

FILES = {"alerts.yml": b"alerts\n", "deep/er/rules.yml": b"rules\n"}


def told(capsys: Capture, directory: Path) -> dict[str, str]:
    """What was said of each file, by its path below the directory."""
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    return {Path(path).relative_to(directory).as_posix(): what for what, path in lines}


def test_all_files_are_written_into_folders_that_are_made(tmp_path: Path, capsys: Capture) -> None:
    """The directory need not exist; bytes arrive as they are; each file is named."""
    directory = tmp_path / "new" / "monitoring"
    assert export(FILES, directory, force=False) == 0
    assert {path: (directory / path).read_bytes() for path in FILES} == FILES
    assert told(capsys, directory) == dict.fromkeys(FILES, "written")


def test_the_same_again_changes_nothing(tmp_path: Path, capsys: Capture) -> None:
    """A second export is no error, and leaves the files alone."""
    export(FILES, tmp_path, force=False)
    before = {path: (tmp_path / path).stat().st_mtime_ns for path in FILES}
    capsys.readouterr()
    assert export(FILES, tmp_path, force=False) == 0
    assert told(capsys, tmp_path) == dict.fromkeys(FILES, "unchanged")
    assert {path: (tmp_path / path).stat().st_mtime_ns for path in FILES} == before


def test_a_file_of_the_users_own_is_not_overwritten(tmp_path: Path) -> None:
    """One that differs stops the export before anything is written, and is named with the way out."""
    (tmp_path / "alerts.yml").write_text("mine\n")
    with pytest.raises(click.ClickException, match=r"alerts\.yml would be overwritten; add --force"):
        export(FILES, tmp_path, force=False)
    assert [path.name for path in tmp_path.rglob("*")] == ["alerts.yml"]
    assert (tmp_path / "alerts.yml").read_text() == "mine\n"


def test_force_overwrites_what_differs_and_says_so(tmp_path: Path, capsys: Capture) -> None:
    """After an upgrade the new files are wanted; version control shows what they change."""
    (tmp_path / "alerts.yml").write_text("old\n")
    assert export(FILES, tmp_path, force=True) == 0
    assert told(capsys, tmp_path) == {"alerts.yml": "replaced", "deep/er/rules.yml": "written"}
    assert {path: (tmp_path / path).read_bytes() for path in FILES} == FILES


@pytest.mark.parametrize("path", ["alerts.yml", "deep"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, path: str) -> None:
    """A folder where a file should be, or a file where a folder should be, is one line, no traceback."""
    (tmp_path / path).mkdir() if path == "alerts.yml" else (tmp_path / path).write_text("a file")
    with pytest.raises(click.ClickException, match=f"cannot write .*{path}"):
        export(FILES, tmp_path, force=True)


def test_the_files_of_a_package_are_those_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the folder `files` is meant, with all folders in it; paths are written with `/` and sorted."""
    package = tmp_path / "exported_package"
    for path, content in FILES.items():
        (package / "files" / path).parent.mkdir(parents=True, exist_ok=True)
        (package / "files" / path).write_bytes(content)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    assert packaged("exported_package") == FILES
    assert list(packaged("exported_package")) == sorted(FILES)
