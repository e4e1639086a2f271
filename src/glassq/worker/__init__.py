"""Running jobs: claim a lane, run its head, decide, settle, go on."""
