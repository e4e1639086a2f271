"""Values: what a job, a verdict and an event are. No I/O, no clock reads, no threads."""
