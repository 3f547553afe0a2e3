"""The configuration file: read with line numbers, checked for shape, then for meaning.

`document` reads YAML, `models` defines the shape, and `load` checks how settings fit together.
`keys` validates API keys and reads them from files. `schema` exports the shape for editors.
"""

from exporter.config.keys import ApiKey
from exporter.config.load import Config, load
from exporter.config.models import Bot, Discovery, Workspace

__all__ = ["ApiKey", "Bot", "Config", "Discovery", "Workspace", "load"]
