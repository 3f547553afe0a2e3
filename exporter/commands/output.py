"""What the commands print: UTF-8 whatever the locale says, and no traceback where it cannot go.

A reader that has seen enough (`| head`) is no fault: the rest goes nowhere, and the exit status is
what it would have been. Anything else that keeps an output from being whole is told.
"""

import sys

from exporter import logs
from exporter.errors import StartError


def tell(text: str | bytes) -> None:
    """Print a text on standard output, as it stands.

    Raises:
        StartError: If it cannot be written, although somebody would read it.
    """
    try:
        logs.deliver(sys.stdout, text if isinstance(text, bytes) else logs.utf_8(text))
    except (BrokenPipeError, ConnectionResetError):
        pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StartError(f"cannot write to standard output: {reason}") from None
