"""The entry point of `python -m exporter` and of the console script."""

from exporter import startup_signals

startup_signals.listen()  # before the slow imports

import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402


def main() -> int:
    """Run the command line and return its exit status."""
    # Installed pydantic plugins must not affect validation, and looking for them takes time.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    environment = dict(os.environ)
    # TLS contexts would write their session secrets to that file and so expose the API keys.
    os.environ.pop("SSLKEYLOGFILE", None)
    from exporter.commands.cli import main as run  # noqa: PLC0415 - slow to import

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return run(sys.argv[1:], environment)


if __name__ == "__main__":
    sys.exit(main())
