"""The producer's side: tasks that are called, batches, and what can be asked of a queue."""
