"""Other queues' names and calls, on glassq: a program of theirs runs with its import changed."""
