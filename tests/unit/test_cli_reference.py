"""The reference of the command line is what the commands say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from glassq.cli import main
from glassq.cli.reference import reference

PAGE = Path(__file__).parents[2] / "docs/reference/cli.md"


def test_the_page_is_what_the_commands_say() -> None:
    """The page does not drift: `python -m glassq.cli.reference > docs/reference/cli.md` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == reference()


def test_the_probes_options_are_told_twice_alike(capsys: pytest.CaptureFixture[str]) -> None:
    """The health probe explains itself without click; the reference names the same options."""
    assert main(["health", "--help"]) == 0
    said = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    section = reference().partition("## glassq health")[2]
    assert set(re.findall(r"--[a-z-]+", section)) >= said - {"--health-file"}
    assert said >= {"--live", "--ready", "--file", "--max-age"}
