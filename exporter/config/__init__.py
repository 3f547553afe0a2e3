"""The configuration file: read with line numbers, checked for shape, then for meaning.

`yaml_document` reads YAML, `settings` defines the shape, `shape` holds a piece of a file against it,
and `validation` checks how settings fit together. `api_keys` reads API keys from files, and
`json_schema` exports the shape for editors.
"""

from exporter.config.api_keys import ApiKey
from exporter.config.settings import Bot, Discovery, Module, Workspace
from exporter.config.validation import Config, load

__all__ = ["ApiKey", "Bot", "Config", "Discovery", "Module", "Workspace", "load"]
