"""The catalogue of faults: what an API, and what is between it and us, can do to one request.

A row bears the number of the project's fault matrix. Each is a small function of a request, of the
right answer to it and of chance, so that one seed always makes the same faults.
"""

import gzip
import json
import random
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import cache
from itertools import chain
from typing import Any, Final

from faults import stub
from faults.stub import Asked, End, Step, Steps, as_json, response
from faults.truth import PRIVATE, Served, Truth

Values = Mapping[str, Mapping[Any, float]]


@dataclass(frozen=True, slots=True)
class Case:
    """What a fault has to work with.

    Attributes:
        asked: The request.
        truth: Makes right answers.
        rng: All the chance there is.
        now: The server's clock.
        elsewhere: Another server's address, where no key may ever come.
    """

    asked: Asked
    truth: Truth
    rng: random.Random
    now: datetime
    elsewhere: str = "http://127.0.0.1:9"

    def served(self) -> Served:
        """A right answer; the list of bots has none of its own here."""
        return self.truth.serve(self.asked)

    def cut(self, content: bytes, least: int = 0) -> bytes:
        """The content up to somewhere before its end."""
        return content[: self.rng.randrange(least, max(least + 1, len(content) - 1))]


@dataclass(frozen=True, slots=True)
class Dealt:
    """What a request gets, and what may come of it.

    Attributes:
        steps: What goes over the wire.
        values: What may be exported because of it, by metric: nothing of a failed answer.
        good: Whether it is in order after all, so that all of `values` must be exported.
        parks: Seconds for which the workspace must not ask again.
        final: Whether asking again may help no more than asking once: no retry may follow.
        loose: Numbers that may be exported under any label.
    """

    steps: Steps
    values: Values = field(default_factory=dict)
    good: bool = False
    parks: float = 0.0
    final: bool = False
    loose: frozenset[float] = frozenset()


Kind = Callable[[Case], Dealt]
KINDS: Final[dict[str, Kind]] = {}


PAUSES: Final = ("U14", "U15", "U16", "U18 503 with")
"""How the rows begin by which an API asks a whole workspace for a pause."""


def _row(name: str) -> Callable[[Kind], Kind]:
    def keep(kind: Kind) -> Kind:
        KINDS[name] = kind
        return kind

    return keep


def good(case: Case) -> Dealt:
    """No fault at all."""
    served = case.served()
    return Dealt((as_json(200, served.answer),), served.values, good=True)


def _whole(case: Case) -> bytes:
    return as_json(200, case.served().answer)


def _status(status: int, content: object, **more: Any) -> Dealt:  # noqa: ANN401 - of Dealt
    return Dealt((as_json(status, content),), **more)


def _body(content: bytes, **headers: str) -> Dealt:
    """A 200 that nothing can be made of."""
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    return Dealt((response(200, content, lines),))


# The connection.


@_row("U03 silence")
def _silence(_: Case) -> Dealt:
    return Dealt((End.HANG,))


@_row("U04 hang in the middle")
def _hang(case: Case) -> Dealt:
    return Dealt((case.cut(_whole(case)), End.HANG))


@_row("U05 drip")
def _drip(case: Case) -> Dealt:
    # Longer than any deadline, yet never silent for long.
    body = b" " * 400 + json.dumps(case.served().answer).encode()
    return Dealt(stub.slicer((response(200, body),), 1, 0.2 + case.rng.random()))


@_row("U06 reset before an answer")
def _reset(case: Case) -> Dealt:
    return Dealt(stub.reset_peer(case.rng.choice((0.0, 0.5))))


@_row("U06 reset in the middle")
def _reset_within(case: Case) -> Dealt:
    return Dealt((case.cut(_whole(case), 1), End.RESET))


@_row("U06 half-closed in the middle")
def _half(case: Case) -> Dealt:
    return Dealt((case.cut(_whole(case), 1), End.HALF_CLOSE, 1.0, End.CLOSE))


@_row("U07 closed after the answer")
def _close(case: Case) -> Dealt:
    dealt = good(case)
    return Dealt(stub.slow_close(dealt.steps, 0.05), dealt.values, good=True)


@_row("U22 cut short")
def _short(case: Case) -> Dealt:
    whole = _whole(case)
    return Dealt(stub.limit_data((whole,), case.rng.randrange(1, len(whole))))


@_row("U22 cut short without a length")
def _short_unsaid(case: Case) -> Dealt:
    body = json.dumps(case.served().answer).encode()
    return Dealt((response(200, case.cut(body, 1), length=None), End.CLOSE))


@_row("U39 slow")
def _slow(case: Case) -> Dealt:
    dealt = good(case)
    return Dealt(stub.latency(dealt.steps, 12.0, 10.0), dealt.values, good=True)


@_row("U39 slower than half a minute")
def _slower(case: Case) -> Dealt:
    # Longer than any client's usual read timeout, and still within the configured minute.
    dealt = good(case)
    return Dealt(stub.latency(dealt.steps, 45.0, 12.0), dealt.values, good=True)


@_row("U39 sliced")
def _sliced(case: Case) -> Dealt:
    dealt = good(case)
    return Dealt(
        stub.slicer(dealt.steps, case.rng.randrange(20, 200), 0.01), dealt.values, good=True
    )


@_row("U39 narrow")
def _narrow(case: Case) -> Dealt:
    dealt = good(case)
    return Dealt(stub.bandwidth(dealt.steps, 2000), dealt.values, good=True)


@_row("U41 after the deadline")
def _late(case: Case) -> Dealt:
    return Dealt(stub.latency((_whole(case),), 90.0, 29.0))


# Statuses.


@_row("U08 400")
def _bad_request(case: Case) -> Dealt:
    texts = ("Invalid date range", "Unsupported metric", PRIVATE[0])
    return _status(400, {"detail": case.rng.choice(texts)}, final=True)


@_row("U09 401")
def _unauthorized(case: Case) -> Dealt:
    token = case.asked.secret  # one of the documented bodies echoes it
    detail = f"The token: {token} decoding failed."
    content = {"detail": detail, "code": 40007, "parameters": {"token": token}}
    return _status(case.rng.choice((400, 401)), content, final=True)


@_row("U10 403")
def _forbidden(case: Case) -> Dealt:
    return _status(403, {"detail": f"forbidden for {case.asked.secret}"}, final=True)


@_row("U11 404")
def _not_found(_: Case) -> Dealt:
    return _status(404, {"detail": "Bot not found"}, final=True)


@_row("U12 409")
def _conflict(_: Case) -> Dealt:
    return _status(409, {"detail": "Conflict"}, final=True)


@_row("U13 422")
def _unprocessable(case: Case) -> Dealt:
    one = {"loc": ["body", "metrics"], "msg": PRIVATE[0], "type": "value_error"}
    detail = case.rng.choice(([one], {"input": PRIVATE[1]}))
    return _status(422, {"detail": detail}, final=True)


@_row("U14 429 with seconds")
def _limited(case: Case) -> Dealt:
    seconds = case.rng.choice((1, 30, 120, 300))
    content = as_json(429, {"detail": "Too Many Requests"}, {"Retry-After": str(seconds)})
    return Dealt((content,), parks=seconds)


@_row("U15 429 with a date")
def _limited_until(case: Case) -> Dealt:
    seconds = case.rng.choice((-60, 0, 60, 240))
    until = format_datetime((case.now + timedelta(seconds=seconds)), usegmt=True)
    clock = {"Date": format_datetime(case.now, usegmt=True)}
    content = as_json(429, {"detail": "slow down"}, {"Retry-After": until, **clock})
    return Dealt((content,), parks=max(0, seconds))


@_row("U16 429 with a body")
def _limited_by_body(case: Case) -> Dealt:
    given: object = case.rng.choice((90, 90.0, "90", -1, "soon", None))
    seconds = 90 if given in {90, "90"} else 0
    return _status(429, {"detail": "Too Many Requests", "retry_after": given}, parks=seconds)


@_row("U14 429 with nonsense")
def _limited_somehow(case: Case) -> Dealt:
    wait = case.rng.choice(("-1", "+1", ".5", "1e9", "soon", "", "120, 60", "Wed, 99 Oct 2026"))
    return Dealt((as_json(429, {}, {"Retry-After": wait}),))


@_row("U18 server error")
def _server_error(case: Case) -> Dealt:
    status = case.rng.choice((500, 502, 503, 504, 599))
    return _status(status, {"detail": f"Internal Server Error {PRIVATE[1]}"})


@_row("U18 503 with seconds")
def _unavailable(case: Case) -> Dealt:
    seconds = case.rng.choice((2, 60))
    return Dealt((as_json(503, {}, {"Retry-After": str(seconds)}),), parks=seconds)


@_row("U18 a status that nobody knows")
def _odd_status(case: Case) -> Dealt:
    status = case.rng.choice((204, 206, 226, 299, 418, 451, 999))
    return Dealt((as_json(status, {}), End.CLOSE))  # 204 has no body: what follows it is garbage


# A status whose body cannot be read: the status counts.


def _unreadable(case: Case, status: int, headers: Mapping[str, str]) -> Steps:
    """An answer of which the head alone can be read."""
    body = json.dumps({"detail": f"no {PRIVATE[0]}"}).encode()
    packed = {**headers, "Content-Encoding": "gzip"}
    return case.rng.choice(
        (
            (response(status, body[:9], headers, length=len(body)), End.CLOSE),
            (response(status, body[:9], headers, length=len(body)), End.RESET),
            (response(status, b"\x0b\x02\x80" + body, {**headers, "Content-Encoding": "br"}),),
            (response(status, b"\x1f\x8b" + body, packed),),
            (response(status, _bomb(1), packed),),
            (response(status, b"\xff\xfe\xd8" + body, headers),),
            (response(status, b"", headers, length=10_000), End.HANG),
        )
    )


@_row("U14 429 that cannot be read")
def _limited_unreadable(case: Case) -> Dealt:
    seconds = case.rng.choice((30, 120, 300))
    return Dealt(_unreadable(case, 429, {"Retry-After": str(seconds)}), parks=seconds)


@_row("U18 503 with seconds that cannot be read")
def _unavailable_unreadable(case: Case) -> Dealt:
    seconds = case.rng.choice((30, 120))
    return Dealt(_unreadable(case, 503, {"Retry-After": str(seconds)}), parks=seconds)


@_row("U12 a status that cannot be read")
def _status_unreadable(case: Case) -> Dealt:
    status = case.rng.choice((400, 404, 409, 500, 502))
    return Dealt(_unreadable(case, status, {}), final=status < 500)


# What answers in the API's place.

_PAGE: Final = b"<html><title>Request blocked</title>incident 4711 of %s</html>"


@_row("U10 403 of a gateway")
def _blocked(case: Case) -> Dealt:
    content = _PAGE % case.asked.secret.encode()
    return Dealt((response(case.rng.choice((401, 403)), content, {"Content-Type": "text/html"}),))


@_row("U11 404 of a gateway")
def _not_found_by_gateway(_: Case) -> Dealt:
    return Dealt((response(404, b"default backend - 404", {"Content-Type": "text/plain"}),))


@_row("U14 403 with seconds")
def _forbidden_for_a_while(case: Case) -> Dealt:
    seconds = case.rng.choice((60, 300))
    content = as_json(403, {"detail": "quota"}, {"Retry-After": str(seconds)})
    return Dealt((content,), parks=seconds)


@_row("U15 429 with an instant")
def _limited_until_epoch(case: Case) -> Dealt:
    seconds = case.rng.choice((120, 240))
    until = str(int(case.now.timestamp()) + seconds)
    clock = {"Date": format_datetime(case.now, usegmt=True)}
    return Dealt((as_json(429, {}, {"Retry-After": until, **clock}),), parks=seconds - 1)


@_row("U13 408 and 425")
def _asked_to_repeat(case: Case) -> Dealt:
    return _status(case.rng.choice((408, 425)), {"detail": "once more"})


# Bodies.


@_row("U21 HTML")
def _html(case: Case) -> Dealt:
    content = f"<html><title>{PRIVATE[0]}</title>We are back soon {case.asked.secret}".encode()
    status = case.rng.choice((200, 503))
    return Dealt((response(status, content, {"Content-Type": "text/html"}),))


@_row("U21 nothing at all")
def _empty(case: Case) -> Dealt:
    return _body(case.rng.choice((b"", b"null", b'""', b"[]", b"{}", b"0", b"OK")))


@cache
def _bomb(folds: int) -> bytes:
    content = bytes(20_000_000 if folds == 1 else 100_000_000)
    for _ in range(folds):
        content = gzip.compress(content, 9)
    return content


@_row("U23 bomb")
def _bombs(case: Case) -> Dealt:
    folds = case.rng.choice((1, 3))
    encoding = case.rng.choice(("gzip", "gzip, gzip, gzip"))
    return _body(_bomb(folds), Content_Encoding=encoding)


@_row("U23 gzip that is none")
def _bad_gzip(case: Case) -> Dealt:
    body = json.dumps(case.served().answer).encode()
    content = case.rng.choice((body, gzip.compress(body)[:-9], b"\x1f\x8b" + body, b"\x1f"))
    return _body(content, Content_Encoding="gzip")


@_row("U23 gzip in order")
def _gzip(case: Case) -> Dealt:
    served = case.served()
    content = gzip.compress(json.dumps(served.answer).encode())
    return Dealt((response(200, content, {"Content-Encoding": "gzip"}),), served.values, good=True)


@_row("U23 gzip of several members")
def _members(case: Case) -> Dealt:
    served = case.served()
    body = json.dumps(served.answer).encode()
    at = case.rng.randrange(len(body))
    content = gzip.compress(body[:at]) + gzip.compress(body[at:])
    name = case.rng.choice(("gzip", "x-gzip"))
    return Dealt((response(200, content, {"Content-Encoding": name}),), served.values, good=True)


@_row("U23 gzip and more")
def _after_gzip(case: Case) -> Dealt:
    content = gzip.compress(json.dumps(case.served().answer).encode())
    return _body(content + case.rng.randbytes(200_000), Content_Encoding="gzip")


@_row("U23 another encoding")
def _encoding(case: Case) -> Dealt:
    name = case.rng.choice(("br", "zstd", "compress", "\x7f", "gzip;q=1"))
    return _body(_whole(case), Content_Encoding=name)


@_row("U24 too long")
def _long(case: Case) -> Dealt:
    head = response(200, b'{"x":"', length=None)
    whole = case.rng.choice((9, 40))  # MiB; the reader has had enough before
    return Dealt(chain((head,), (b"x" * (1 << 20) for _ in range(whole)), (End.CLOSE,)))


@_row("U29 not JSON as it should be")
def _not_json(case: Case) -> Dealt:
    text = json.dumps(case.served().answer)
    wrong = (
        b"[" * 100_000,
        b'{"total_usage":{"total_chat_responses":' + b"9" * 4301 + b"}}",
        text.encode("utf-16"),
        text.encode()[:-1] + b"\xff}",
        text.replace(":", ": NaN, ", 1).encode(),
        text.encode()[:-1] + b",}",
        b"\0" + text.encode(),
    )
    return _body(case.rng.choice(wrong))


@_row("U29 a byte order mark")
def _mark(case: Case) -> Dealt:
    served = case.served()
    content = b"\xef\xbb\xbf" + json.dumps(served.answer).encode()
    return Dealt((response(200, content),), served.values, good=True)


@_row("U29 a text that cannot be read")
def _unreadable_text(case: Case) -> Dealt:
    # In a place that nobody reads: all values come nevertheless.
    served = case.served()
    body = json.dumps(served.answer).encode()
    wrong = (rb"\ud83d", b"\t", b"\x01", b"\xff", b"\xed\xa0\xbd", b"\xc3", b"\n")
    text = b'"comment": "Nice %s %s"' % (case.rng.choice(wrong), case.rng.choice(wrong))
    content = b"{" + text + b", " + body[1:]
    return Dealt((response(200, content),), served.values, good=True)


@_row("U29 called something else")
def _called(case: Case) -> Dealt:
    served = case.served()
    name = case.rng.choice(("text/json", "text/plain", "application/octet-stream"))
    content = as_json(200, served.answer, {"Content-Type": name})
    return Dealt((content,), served.values, good=True)


@_row("U24 too many parts")
def _parts(case: Case) -> Dealt:
    # Small on the wire, and a gigabyte as objects.
    one = case.rng.choice((b"{}", b"[]", b'{"period":"2026-01-01","CUSTOMER":1}', b'"label"'))
    rows = b",".join([one] * min(2_000_000, 7_000_000 // (len(one) + 1)))
    metric = case.asked.metrics[0].encode()
    return _body(
        gzip.compress(b'{"%s":{"data":[%s]}}' % (metric, rows), 1), Content_Encoding="gzip"
    )


@_row("L08 an answer with the key in it")
def _key_inside(case: Case) -> Dealt:
    served = case.served()
    answer = {**served.answer, "debug": {"token": case.asked.secret}}
    return Dealt((as_json(200, answer),))


# Headers.


@_row("U30 redirect")
def _redirect(case: Case) -> Dealt:
    status = case.rng.choice((301, 302, 303, 307, 308))
    to = (case.elsewhere + case.asked.path, case.asked.path, "//[", "file:///etc/passwd", "")
    return Dealt((response(status, b"", {"Location": case.rng.choice(to)}),))


@_row("U33 interim answers")
def _interim(case: Case) -> Dealt:
    dealt = good(case)
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * case.rng.randrange(1, 20)
    return Dealt(chain((interim,), dealt.steps), dealt.values, good=True)


@_row("U33 interim answers without an end")
def _interims(_: Case) -> Dealt:
    def flood() -> Iterator[Step]:
        while True:
            yield b"HTTP/1.1 102 Processing\r\n\r\n"
            yield 0.5

    return Dealt(flood())


@_row("U34 a second answer unasked")
def _unasked(case: Case) -> Dealt:
    # Whoever takes it for the next answer shows one bot's numbers as another's.
    served = case.served()
    second = as_json(200, case.served().answer)
    return Dealt((as_json(200, served.answer) + second,), served.values, good=True)


@_row("U34 header bomb")
def _headers(case: Case) -> Dealt:
    name, times = case.rng.choice((("X", 20_000), ("X" * 65_000, 4)))
    lines = "".join(f"{name}-{place}: {PRIVATE[0]}\r\n" for place in range(times)).encode()
    head, _, body = _whole(case).partition(b"\r\n\r\n")
    return Dealt((head + b"\r\n" + lines + b"\r\n" + body,))


@_row("U34 cookies and echoes")
def _cookies(case: Case) -> Dealt:
    served = case.served()
    lines = {
        "Set-Cookie": f"session={PRIVATE[0]}; Domain=127.0.0.1",
        "X-Echo": case.asked.secret,
        "Refresh": f"0; url={case.elsewhere}",
    }
    return Dealt((as_json(200, served.answer, lines),), served.values, good=True)


@_row("U34 not HTTP")
def _not_http(case: Case) -> Dealt:
    wrong = (
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"\r\n" * 1000,
    )
    return Dealt((case.rng.choice(wrong), 0.1, End.CLOSE))


# What an answer says.


def _leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - JSON
    """The paths to all numbers."""
    if isinstance(node, int | float) and not isinstance(node, bool):
        yield path
    elif isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _leaves(value, (*path, key))


def replaced(node: Any, path: tuple[Any, ...], value: object) -> Any:  # noqa: ANN401 - JSON
    """A copy with another value at a path."""
    copy = deepcopy(node)
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return copy


class _Raw(str):
    """JSON that `json.dumps` would not write."""

    __slots__ = ()


WRONG_NUMBERS: Final[tuple[object, ...]] = (
    *(_Raw(text) for text in ("NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "01", "+1")),
    *(-1, -5e-324, 2**53 + 1, 10**40, True, False, None, [], {}, [1], {"value": 1}),
    *(
        " 12 ",
        "1_000",
        "\uff11\uff12",
        "0x10",
        "1e3 ",
        "-3",
        "",
        "null",
        "NaN",
        "twelve",
        PRIVATE[0],
    ),
)
"""What may stand where a count is due and is no such count; the last of them are texts."""


def _dumped(content: object) -> bytes:
    """JSON with what is raw left as it is."""
    mark = "@raw@"
    text = json.dumps(content, default=str)
    return text.replace(f'"{mark}', "").replace(f'{mark}"', "").encode()


@_row("U26 a number that is none")
def _number(case: Case) -> Dealt:
    served = case.served()
    path = case.rng.choice(list(_leaves(served.answer)))
    wrong = case.rng.choice(WRONG_NUMBERS)
    marked = f"@raw@{wrong}@raw@" if isinstance(wrong, _Raw) else wrong
    # Changes against the period before may be negative.
    free = frozenset({-0.01, -5e-326}) if "change" in str(path[-1]) else frozenset[float]()
    content = _dumped(replaced(served.answer, path, marked))
    return Dealt((response(200, content),), served.values, loose=free)


@_row("U26 a number as text")
def _text_number(case: Case) -> Dealt:
    served = case.served()
    paths = [path for path in _leaves(served.answer) if isinstance(_at(served.answer, path), int)]
    path = case.rng.choice(paths)
    content = replaced(served.answer, path, str(_at(served.answer, path)))
    return Dealt((as_json(200, content),), served.values)


def _at(node: Any, path: tuple[Any, ...]) -> Any:  # noqa: ANN401 - JSON
    for key in path:
        node = node[key]
    return node


@_row("U26 another shape")
def _shape(case: Case) -> Dealt:
    served = case.served()
    parts = [key for key in served.answer if key != "metric"]
    wrong: object = case.rng.choice((None, 5, "x", [], {}, [[]], [None], {"data": "x"}, True, [5]))
    content = {**served.answer, case.rng.choice(parts): wrong}
    return Dealt((as_json(200, content),), served.values)


@_row("U27 a key twice")
def _twice(case: Case) -> Dealt:
    served = case.served()
    text = json.dumps(served.answer)
    key, value = case.rng.choice(list(served.answer.items()))
    # The last one counts, as with every common reader; both say the same here.
    content = f"{text[:-1]}, {json.dumps(key)}: {json.dumps(value)}}}"
    return Dealt((response(200, content.encode()),), served.values)


NAMES: Final = (
    *("", " ", "\0", "\n", '"', "\\", '\\"', "a\r\nb", "\u202egnp.exe", "\ud800", "\ufffe"),
    *("😀", "é", "e\u0301", " support ", "support", "x" * 5000, "{}", "# HELP x", "le", "NaN"),
    *(PRIVATE[2], PRIVATE[3], "+1 (999) 555-0142 863", "redacted", "__name__", "null"),
)
"""Names that nobody should give to a label, and somebody will."""


@_row("U28 names of labels")
def _names(case: Case) -> Dealt:
    served = case.served()
    metric = "label_usage"
    if metric not in served.values:
        return Dealt((as_json(200, served.answer),), served.values, good=True)
    names = [case.rng.choice(NAMES) for _ in range(case.rng.randrange(1, 6))]
    numbers = [case.truth.number() for _ in names]
    rows = [{"name": name, "count": number} for name, number in zip(names, numbers, strict=True)]
    content = deepcopy(served.answer)
    data = content["data"] if case.asked.api == "portal" else content[metric]
    data[0]["labels"] = rows
    # What becomes equal is summed; which do is the exporter's to know, so any sum will do.
    sums = frozenset(
        float(sum(number for place, number in enumerate(numbers) if chosen >> place & 1))
        for chosen in range(1, 1 << len(numbers))
    )
    body = json.dumps(content).encode()  # a lone surrogate goes as its escape
    return Dealt((response(200, body),), served.values, loose=sums)


@_row("U25 a thousand labels")
def _many(case: Case) -> Dealt:
    served = case.served()
    if "label_usage" not in served.values:
        return Dealt((as_json(200, served.answer),), served.values, good=True)
    numbers = [case.truth.number() for _ in range(1000)]
    rows = [{"name": f"label {place}", "count": n} for place, n in enumerate(numbers)]
    content = deepcopy(served.answer)
    data = content["data"] if case.asked.api == "portal" else content["label_usage"]
    data[0]["labels"] = rows
    return Dealt(
        (as_json(200, content),), served.values, loose=frozenset(map(float, numbers[-200:]))
    )


@_row("U35 another metric's answer")
def _echo(case: Case) -> Dealt:
    served = case.served()
    name = case.rng.choice(("metric", "Total_Usage", "not_asked_for"))
    first, *others = served.values
    if case.asked.api == "portal":
        return Dealt((as_json(200, {**served.answer, "metric": name}),))
    content = dict(served.answer)
    content[name] = content.pop(first)
    return Dealt((as_json(200, content),), {metric: served.values[metric] for metric in others})


@_row("U35 another day's rows")
def _another_day(case: Case) -> Dealt:
    served = case.served()
    if "start_date" not in case.asked.body and "from_date" not in case.asked.body:
        return Dealt((as_json(200, served.answer),), served.values, good=True)
    text = json.dumps(served.answer).replace(case.truth.day(case.asked), "2019-01-01")
    dated = {"activity_trend", "label_usage", "conversation_overview"}
    values = {metric: one for metric, one in served.values.items() if metric not in dated}
    return Dealt((response(200, text.encode()),), values)


@_row("U38 a part is missing")
def _partial(case: Case) -> Dealt:
    served = case.served()
    missing = case.rng.choice(list(served.values))
    if case.asked.api == "portal":
        return Dealt((as_json(200, {"metric": missing}),))
    content = {metric: part for metric, part in served.answer.items() if metric != missing}
    if case.rng.random() < 0.5:
        content[missing] = None
    values = {metric: one for metric, one in served.values.items() if metric != missing}
    return Dealt((as_json(200, content),), values)
