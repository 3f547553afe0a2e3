"""The configuration file: read with line numbers, checked for shape, then for meaning.

`document` reads YAML, `models` defines the shape, and `load` checks how settings fit together.
`keys` validates API keys and reads them from files. `schema` exports the shape for editors.
"""

from exporter.config.api_keys import ApiKey
from exporter.config.settings import Bot, Discovery, Workspace
from exporter.config.validation import Config, load

__all__ = ["ApiKey", "Bot", "Config", "Discovery", "Workspace", "load"]
