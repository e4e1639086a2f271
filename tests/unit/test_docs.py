"""The documents say what is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])


def test_every_error_is_in_the_reference() -> None:
    """The reference of errors names each class of `glassq.errors`, and none that does not exist."""
    code = ast.parse((ROOT / "src/glassq/errors.py").read_text(encoding="utf-8"))
    page = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    exist = {node.name for node in code.body if isinstance(node, ast.ClassDef)}
    named = set(re.findall(r"^\| \**`(\w+)`", page, flags=re.MULTILINE))
    assert named == exist


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link of a page names a file or folder that is there."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    local = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_page_can_be_found() -> None:
    """Each page below docs is linked from another one: nobody finds a page by guessing its name."""
    docs = ROOT / "docs"
    linked = {docs / "index.md"}
    for page in docs.rglob("*.md"):
        for target in re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8")):
            linked.add((page.parent / target).resolve())
    folders = {path for path in linked if path.is_dir()}
    lost = [page for page in docs.rglob("*.md") if page not in linked and page.parent not in folders]
    assert lost == []


def test_the_changelog_has_a_place_for_what_is_not_released() -> None:
    """Whoever changes something finds where to say it."""
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
