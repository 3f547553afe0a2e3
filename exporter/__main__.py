"""`python -m exporter`, and the console script."""

import os
import sys

from exporter.cli import main as run


def main() -> int:
    """The exit status of what the process was started for."""
    # Nothing that happens to be installed may have a say in what is read, or be looked for.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    environment = dict(os.environ)
    # Whatever makes a TLS context would write the secrets of its connections there, keys with them.
    os.environ.pop("SSLKEYLOGFILE", None)
    return run(sys.argv[1:], environment)


if __name__ == "__main__":
    sys.exit(main())
