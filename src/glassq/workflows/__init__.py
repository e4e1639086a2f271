"""Jobs that wait for others: put together, submitted whole, looked at as one."""
