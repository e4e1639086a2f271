"""Other queues, each used as its documentation shows, in a file of its own."""
