"""The recording and alert rules that come with glassq, with their tests and examples of how they are used.

The folder `files` is their one source: the repository's `grafana/` is `glassq rules export grafana`.
"""
