"""The embedded store: one SQLite file, standard library only."""
