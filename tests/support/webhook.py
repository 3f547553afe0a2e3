"""A webhook that takes what Alertmanager sends, and keeps it; as a program, it prints it."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def filled_in(config: str, *blocks: str) -> str:
    """Alertmanager's configuration with blocks that are comments in it.

    Args:
        config: Its text.
        blocks: The first line of each, without what follows its colon; the webhooks if there is none.
    """

    def uncommented(block: re.Match[str]) -> str:
        return re.sub(r"^( +)# ", r"\1", block[0], flags=re.MULTILINE)

    for block in blocks or ("webhook_configs",):
        config = re.sub(
            rf"^( +)# {re.escape(block)}(?::.*)?\n(?:\1#  .*\n)+",
            uncommented,
            config,
            flags=re.MULTILINE,
        )
    return config


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
            for alert in message.get("alerts", ())  # none in what is made for Slack
        ]


@contextmanager
def listening(host: str = "127.0.0.1", port: int = 0) -> Iterator[Webhook]:
    """One for as long as the block lasts, on a free port if none is given."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            webhook.messages.append((self.path, json.loads(content)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")  # what Slack says

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((host, port), Handler) as server:
        webhook = Webhook(f"http://{host}:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield webhook
        finally:
            server.shutdown()
            thread.join()


def main() -> None:
    """Print what comes to where the examples in Alertmanager's configuration send it."""
    shown = 0
    with listening("", 5001) as webhook:
        while True:
            for path, message in webhook.messages[shown:]:
                print(path, json.dumps(message), flush=True)
                shown += 1
            time.sleep(0.2)


if __name__ == "__main__":
    main()
