"""Standard output of the commands: UTF-8 whatever the locale, and no traceback if it fails.

A reader that closes the pipe early (`| head`) is not an error: the rest is discarded, and the exit
status does not change. Any other incomplete output is reported.
"""

import sys

from exporter import logs
from exporter.errors import StartError


def tell(text: str | bytes) -> None:
    """Print a text on standard output as it is.

    Raises:
        StartError: If it cannot be written for any reason but a closed pipe.
    """
    try:
        logs.deliver(sys.stdout, text if isinstance(text, bytes) else logs.utf_8(text))
    except (BrokenPipeError, ConnectionResetError):
        pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StartError(f"cannot write to standard output: {reason}") from None
