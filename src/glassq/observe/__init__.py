"""Observers of the bus: metrics, traces, logs and health. The only room that knows telemetry libraries."""
