"""The configuration file: read with its lines, checked for shape, then for meaning.

`document` knows YAML, `models` the shape, `load` what goes together and what does not, `keys` how
a secret may look and where it comes from, `schema` writes the shape down for editors.
"""

from exporter.config.keys import ApiKey
from exporter.config.load import Config, load
from exporter.config.models import Bot, Discovery, Workspace

__all__ = ["ApiKey", "Bot", "Config", "Discovery", "Workspace", "load"]
