"""Jobs that are enqueued by the clock: stored schedules, one leader, and what it does at each slot."""
