"""`python -m exporter`, and the console script."""

from exporter import early_signals

early_signals.listen()  # before anything that takes its time to import

import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402


def main() -> int:
    """The exit status of what the process was started for."""
    # Nothing that happens to be installed may have a say in what is read, or be looked for.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    environment = dict(os.environ)
    # Whatever makes a TLS context would write the secrets of its connections there, keys with them.
    os.environ.pop("SSLKEYLOGFILE", None)
    from exporter.commands.cli import main as run  # noqa: PLC0415 - SIGINT ends quietly until it is there

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return run(sys.argv[1:], environment)


if __name__ == "__main__":
    sys.exit(main())
