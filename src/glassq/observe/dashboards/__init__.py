"""The Grafana dashboards, as code: what they show is checked against the catalogue while they are built.

The files below `grafana/dashboards` are made here; `glassq dashboards export --force grafana/dashboards`
writes them anew.
"""
