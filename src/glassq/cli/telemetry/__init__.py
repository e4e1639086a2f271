"""`glassq telemetry`: whether what is told of a job arrives where people look."""
