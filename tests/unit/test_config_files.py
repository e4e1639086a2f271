"""Files that are no configuration, or mean harm: each is refused quickly, in one line that says why."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from glassq.config import from_dict, load
from glassq.errors import BadConfiguration, MissingExtra

Refused = Callable[[str | bytes, str], str]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """The one line that is said about a file with this content."""
    monkeypatch.chdir(tmp_path)

    def one_line(content: str | bytes, name: str = "a.yaml") -> str:
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(BadConfiguration) as raised:
            load(name, {})
        (problem,) = raised.value.problems
        assert problem.file == name
        return str(problem)

    return one_line


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "a.yaml: file: is empty; the least is a line like `app: shop.jobs:app`"),
        ("\n# nothing yet\n", "a.yaml: file: is empty"),
        ("---\n", "a.yaml: file: is empty"),
        ("null", "a.yaml: file: is empty"),
        ("- a\n", "a.yaml:1: file: is a list; it should be a mapping"),
        ("\nhello", "a.yaml:2: file: is a single value; it should be a mapping"),
        (
            "a: 1\n\tb: 2",
            "a.yaml:2: syntax: found character '\\t' that cannot start any token; indent with spaces",
        ),
        ("a: {b: 1", "a.yaml:1: syntax: expected ',' or '}', but got '<stream end>'"),
        ("store:\n  url: [a\nb: 2", "a.yaml:3: syntax: expected ',' or ']', but got"),
        ("a: 'b\n", "a.yaml:2: syntax: found unexpected end of stream"),
        ("http: {port: ${PORT}}", "a.yaml:1: syntax: expected ',' or '}', but got '{'"),
        ("a: 1\n---\nb: 2", "a.yaml:2: syntax: a second document begins; a file has one"),
        ("a: 1\nb: \x07", "a.yaml:2: syntax: the character '\\x07' is not allowed in YAML"),
        (b"a: 1\nb: caf\xe9\n", "a.yaml:2: file: is not UTF-8 in this line; save it as UTF-8"),
        ("drain: !!python/object/apply:os.getcwd []", "a.yaml:1: drain: has a tag; leave it out"),
        ("drain: !!int '5'", "a.yaml:1: drain: has a tag; leave it out"),
        ("drain: *none", "a.yaml:1: drain: *none stands for nothing; there is no &none before it"),
        ("store: &a {url: *a}", "a.yaml:1: store.url: *a contains itself"),
        ("store: &a [*a]", "a.yaml:1: store[0]: *a contains itself"),
        ("? [a, b]\n: 1", "a.yaml:1: syntax: has a name that is no text"),
        ("store:\n  <<: 7", "a.yaml:2: store.<<: takes a mapping over, as in `<<: *defaults`"),
        ("a: " + "[" * 900, "a.yaml:1: a[0][0]"),
        ("a:\n" + "".join(f"{' ' * depth}- \n" for depth in range(1, 40)), "is more than 20 levels deep"),
    ],
    ids=range(23),
)
def test_yaml_that_is_none_or_too_much(content: str | bytes, expected: str, refused: Refused) -> None:
    """Each with the line, and without quoting the line, which might hold a password."""
    assert expected in refused(content, "a.yaml")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", '{"a": 1,\n b}', "a.json:2: syntax: "),
        ("a.json", '{"drain": 1, "drain": 2}', "a.json: drain: stands twice in one object"),
        ("a.json", '{"drain": NaN}', "a.json: drain: is seconds from 0 up"),
        ("a.json", '{"drain": ' + "9" * 5000 + "}", "a.json: syntax: "),
        ("a.json", "[" * 100_000, "a.json: syntax: is nested too deep"),
        ("a.json", "[1]", "a.json: file: is a list; it should be a mapping"),
        ("a.json", " ", "a.json: file: is empty"),
        ("a.toml", "drain = \n", "a.toml:1: syntax: Invalid value"),
        ("a.toml", "drain = 1\ndrain = 2", "a.toml:2: syntax: Cannot overwrite a value"),
        ("a.toml", "drain = nan", "a.toml: drain: is seconds from 0 up"),
        ("a.toml", "drain = 2026-01-01", "a.toml: drain: has a date; use text, numbers"),
        ("a.toml", "drain = " + "[" * 5000, "a.toml: syntax: is nested too deep"),
        ("a.txt", "drain: 1", "a.txt: file: ends in .txt, and is read as .yaml, .yml, .toml or .json"),
        ("a.yml2", "drain: 1", "did you mean '.yml'?"),
        ("a", "drain: 1", "a: file: ends in nothing"),
    ],
    ids=range(15),
)
def test_other_languages_and_none(name: str, content: str, expected: str, refused: Refused) -> None:
    """TOML and JSON say their line where their own readers know it; other endings are refused."""
    assert expected in refused(content, name)


def test_a_file_that_is_not_there_or_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a directory, a name that cannot be: one line each."""
    (tmp_path / "folder.yaml").mkdir()
    for name, why in (
        ("missing.yaml", "cannot be read: No such file or directory"),
        ("folder.yaml", "cannot be read: Is a directory"),
        ("missing/a.yaml", "cannot be read: No such file or directory"),
        ("nul\0.yaml", "has a name that no file can have"),
    ):
        with pytest.raises(BadConfiguration, match=why):
            load(tmp_path / name, {})


def test_a_huge_file_is_refused_without_reading_it(refused: Refused) -> None:
    """A log or a dump that was named by mistake is not parsed for minutes."""
    began = time.process_time()
    assert "a.yaml: file: is larger than 1,048,576 bytes" in refused("a" * ((1 << 20) + 1), "a.yaml")
    assert time.process_time() - began < 1


def test_what_is_all_wrong_is_said_in_a_hundred_lines(tmp_path: Path) -> None:
    """A file of another program is refused soon, and does not bury the first mistake under thousands."""
    (tmp_path / "a.yaml").write_text("".join(f"name{number}: 1\n" for number in range(5000)))
    with pytest.raises(BadConfiguration) as raised:
        load(tmp_path / "a.yaml", {})
    assert len(raised.value.problems) == 5000
    assert str(raised.value).splitlines()[100:] == ["and 4,900 more"]


def test_aliases_that_multiply_are_refused(refused: Refused) -> None:
    """Nine lines of nine aliases would be hundreds of millions of values; they are counted, not made."""
    lines = ["x-a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]"]
    lines += [f"x-a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 10)]
    began = time.process_time()
    said = refused("\n".join(lines), "a.yaml")
    assert said.startswith("a.yaml:6: x-a5[0]: ")
    assert "with its aliases written out the file has over 100,000 values" in said
    assert time.process_time() - began < 1


def test_merged_mappings_that_multiply_are_refused(refused: Refused) -> None:
    """The same by way of `<<`."""
    lines = ["x-0: &m0 {" + ", ".join(f"k{number}: 1" for number in range(500)) + "}"]
    lines += [f"x-{level}: &m{level} {{<<: [{', '.join([f'*m{level - 1}'] * 20)}]}}" for level in range(1, 5)]
    began = time.process_time()
    assert "with its aliases written out" in refused("\n".join(lines), "a.yaml")
    assert time.process_time() - began < 2


def test_without_the_package_for_yaml_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """YAML needs the extra `cli`; TOML and JSON need nothing."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "glassq.config.yamlfile", raising=False)
    for name, text in (("a.yaml", "drain: 1"), ("a.toml", "drain = 1"), ("a.json", '{"drain": 1}')):
        (tmp_path / name).write_text(text)
    with pytest.raises(MissingExtra, match=r"pip install 'glassq\[cli\]'"):
        load(tmp_path / "a.yaml", {})
    for name in ("a.toml", "a.json"):
        assert load(tmp_path / name, {}) == from_dict({"drain": 1})


def test_what_has_no_end_is_refused(tmp_path: Path) -> None:
    """A device that gives bytes for ever is read up to the limit and no further."""
    link = tmp_path / "a.yaml"
    link.symlink_to("/dev/zero")
    with pytest.raises(BadConfiguration, match="is larger than"):
        load(link, {})
