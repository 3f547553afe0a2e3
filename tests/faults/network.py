"""The network of a world without a clock: the client's own transport over connections in memory."""

from exporter.upstream.transport import Transport


def transport(concurrency: int) -> Transport:
    """A transport as the client makes it; its sockets have no number to ask the system about.

    Args:
        concurrency: As configured.
    """
    return Transport(
        tls=None,
        proxy=None,
        most=concurrency + 1,
        silent=lambda one: not one.get_extra_info("socket").fileno().socket.read_ready(),
    )
