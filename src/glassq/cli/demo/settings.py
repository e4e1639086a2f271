"""How the demo's processes know each other: environment variables, module names, and the pace they share."""

from __future__ import annotations

RECEIVER = "GLASSQ_DEMO_RECEIVER"
"""Environment variable with the URL that webhooks are delivered to."""

QUEUE = "GLASSQ_DEMO_QUEUE"
"""Environment variable with the queue's name, so that a demo on a shared store touches no other queue."""

DEFAULT_QUEUE = "webhooks"

TARGET = "glassq.cli.demo.tasks:app"
"""The application, as `glassq worker` is told it."""

PRODUCER = "glassq.cli.demo.producer"
"""The module that enqueues. Named, not imported: importing the application opens its store."""

CONCURRENCY = 3
"""Lanes that one worker of the demo runs at once."""

STOP_SECONDS = 0.05
"""How long the demo's own servers may take to notice that they are to stop."""

RETRY_WAIT = 0.5
"""Seconds a customer's lane waits after a refused delivery."""
