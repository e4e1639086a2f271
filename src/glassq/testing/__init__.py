"""The public test kit: a clock that can be moved, and the suite every store passes."""
