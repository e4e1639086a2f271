"""Histories of real runs, and the checker that finds in them whatever breaks the contract.

`Glassq(history="dir")` records, `dump` writes down what is left in the store at the end, `read` and `check`
(or `glassq verify dir`) judge.
"""

from glassq.testing.history.checking import check
from glassq.testing.history.dumping import dump
from glassq.testing.history.reading import History, UnreadableHistory, read
from glassq.testing.history.report import INVARIANTS, Finding, Report

__all__ = ["INVARIANTS", "Finding", "History", "Report", "UnreadableHistory", "check", "dump", "read"]
