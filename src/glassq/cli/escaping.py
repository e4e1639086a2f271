"""Text of others, such as errors and keys, is shown, never obeyed: by a terminal, or who reads lines."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with every character a terminal might act on, or hide, written out as its escape."""
    if text.isprintable():  # nearly always, and every line of a log asks
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def printable_lines(text: str) -> str:
    """As `printable`, for text of several lines."""
    return "\n".join(map(printable, text.expandtabs(4).split("\n")))
