"""A webhook that takes what Alertmanager sends, and keeps it."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def filled_in(config: str) -> str:
    """Alertmanager's configuration with the webhooks that are comments in it."""
    return re.sub(r"^    # (?=webhook_configs:|  )", "    ", config, flags=re.MULTILINE)


@dataclass
class Webhook:
    """What has come.

    Attributes:
        url: Where it listens.
        messages: The path and the content of each, in the order in which they came.
    """

    url: str
    messages: list[tuple[str, Any]] = field(default_factory=list)

    def alerts(self) -> list[tuple[str, Any]]:
        """The path without its slash, which names the receiver, and the alert, for each alert."""
        return [
            (path.strip("/"), alert)
            for path, message in list(self.messages)
            for alert in message["alerts"]
        ]


@contextmanager
def listening() -> Iterator[Webhook]:
    """One on loopback for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            webhook.messages.append((self.path, json.loads(content)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        webhook = Webhook(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield webhook
        finally:
            server.shutdown()
            thread.join()
