"""Settings from a file or a dict: `load` and `from_dict` give a `Configuration`, or say all that is wrong."""

from __future__ import annotations

from glassq.config.configuration import Configuration as Configuration
from glassq.config.configuration import from_dict as from_dict
from glassq.config.configuration import load as load

__all__ = ["Configuration", "from_dict", "load"]
