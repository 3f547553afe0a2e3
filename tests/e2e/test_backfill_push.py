"""Rebuilt series go into real stores by remote write, and are read back."""

import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import pytest
from backfill.test_formats import received
from e2e.programs import ROOT, ServedSandbox, served
from e2e.test_dashboards import prometheus_on
from support.backfilled import NOW, command, configuration, written
from support.longterm import thanos, victoria_metrics
from support.loopback import Asked, Listening, listening

from exporter.backfill import push
from exporter.commands.flags import DONE
from exporter.errors import StartError
from exporter.sandbox import Sandbox

FROM: Final = "--from=2026-09-20"
STORES: Final = ROOT / ".tools/stores"
RECEIVER: Final = "--web.enable-remote-write-receiver"
OLD: Final = {"storage": {"tsdb": {"out_of_order_time_window": "400d"}}}

Run = Callable[..., int]


@pytest.fixture(scope="module")
def api() -> Iterator[ServedSandbox]:
    with served(Sandbox.make(now=lambda: NOW, bots=1, days=100)) as found:
        yield found


@pytest.fixture
def run(api: ServedSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Rebuilds one bot and pushes it."""
    file = written(tmp_path, configuration(api, bots=1))
    api.requests.clear()

    def at(url: str, *flags: str) -> int:
        given = (FROM, "--step=1h", "--workspace=acme", f"--output={tmp_path / 'out'}", "--yes")
        labels = ("--label=job=seasalt", "--label=instance=exporter:9877")
        return command(file, *given, *labels, f"--push={url}", *flags, patch=monkeypatch)

    return at


def written_to(store: Listening) -> list[Asked]:
    """The writes that a stand-in for a store has got."""
    return [one for one in store.asked if "/api/v1/write" in one.line]


def pushed(said: str) -> int:
    (found,) = re.findall(r": ([\d,]+) samples; 500 were read back and are equal", said)
    return int(found.replace(",", ""))


def test_prometheus_has_what_was_pushed_and_a_second_run_pushes_and_asks_nothing(
    run: Run,
    api: ServedSandbox,
    prometheus: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with prometheus_on(prometheus, tmp_path / "data", OLD, RECEIVER) as url:
        assert run(f"{url}/api/v1/write") == DONE
        assert pushed(capsys.readouterr().out) > 100_000
        asked = len(api.requests)
        assert run(f"{url}/api/v1/write") == DONE
        assert pushed(capsys.readouterr().out) == 0
        assert len(api.requests) == asked


def test_the_earliest_sample_is_pushed_first(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thanos does not show what comes after it and is older, until it has made blocks of it."""
    bodies: list[bytes] = []
    monkeypatch.setattr(push.Store, "push", lambda _, body: bodies.append(body))
    monkeypatch.setattr(push.Store, "read_back", lambda *_: None)
    run("http://127.0.0.1:9/api/v1/write")
    all_times = [[at for at, _ in samples] for samples in received(bodies).values()]
    assert all_times[0][0] == min(map(min, all_times))


def test_a_thanos_that_takes_nothing_old_says_what_to_set(run: Run, tmp_path: Path) -> None:
    with (
        thanos(tmp_path / "data") as (url, query),
        pytest.raises(StartError, match=r"HTTP 409: .*--tsdb\.out-of-order\.time-window"),
    ):
        run(url, f"--push.query-url={query}")


def test_samples_that_victoria_metrics_drops_without_a_word_are_missed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "PATIENCE", 3.0)
    monkeypatch.setattr(push, "READ_BACK", 20)
    with (
        victoria_metrics(tmp_path / "data", "-retentionPeriod=1M") as url,
        pytest.raises(StartError, match="are missing or differ, although the store took them"),
    ):
        run(f"{url}/api/v1/write")


def test_a_prometheus_that_takes_nothing_old_says_what_to_set(
    run: Run, prometheus: str, tmp_path: Path
) -> None:
    with (
        prometheus_on(prometheus, tmp_path / "data", {}, RECEIVER) as url,
        pytest.raises(StartError, match=r"HTTP 400: .*set out_of_order_time_window"),
    ):
        run(f"{url}/api/v1/write")


def test_a_prometheus_without_a_receiver_says_which_flag_it_needs(
    run: Run, prometheus: str, tmp_path: Path
) -> None:
    with (
        prometheus_on(prometheus, tmp_path / "data", OLD) as url,
        pytest.raises(StartError, match=r"HTTP 404: .*--web\.enable-remote-write-receiver"),
    ):
        run(f"{url}/api/v1/write")


def test_a_store_that_is_not_there_ends_it_and_the_answers_are_kept(
    run: Run, api: ServedSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "PATIENCE", 1.0)
    with pytest.raises(StartError, match="ConnectError for 1 s; run the same command again"):
        run("http://127.0.0.1:9/api/v1/write")
    asked = len(api.requests)
    with pytest.raises(StartError, match="ConnectError"):
        run("http://127.0.0.1:9/api/v1/write")
    assert len(api.requests) == asked


def test_a_store_that_answers_well_and_keeps_nothing_is_found_out(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "PATIENCE", 1.0)
    monkeypatch.setattr(push, "READ_BACK", 20)
    empty: dict[str, Any] = {"status": "success", "data": {"resultType": "vector", "result": []}}
    with listening(lambda path: (204, None) if path.endswith("write") else (200, empty)) as store:
        with pytest.raises(StartError, match="of 20 samples that were read back, 20 are missing"):
            run(f"{store.url()}/api/v1/write")
        writes = written_to(store)
        assert writes
        # Nobody knows what else it lacks: the next run pushes all of it again.
        with pytest.raises(StartError, match="20 are missing"):
            run(f"{store.url()}/api/v1/write")
        assert len(written_to(store)) == 2 * len(writes)


@pytest.mark.parametrize(("told", "equal"), [("0.6667", True), ("0.6668", False)])
def test_what_a_store_rounds_in_the_last_digit_is_equal_and_no_other_value_is(
    told: str, equal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "PATIENCE", 0.1)
    sample = push.Pushed((("__name__", "seasalt_csat_satisfaction_ratio"),), 300, 66.67 / 100)
    assert sample.value != float("0.6667")
    answer = {"data": {"result": [{"value": [300, told]}]}}
    with (
        listening(lambda _: (200, answer)) as server,
        push.Store(server.url(), server.url(), {}) as store,
        nullcontext() if equal else pytest.raises(StartError, match="1 are missing or differ"),
    ):
        store.read_back([sample])


def test_another_tenant_or_query_url_of_a_store_gets_everything_too(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push.Store, "read_back", lambda *_: None)
    headers = tmp_path / "headers"
    with listening(lambda _: (204, None)) as store:

        def writes(tenant: int, *flags: str) -> int:
            before = len(written_to(store))
            headers.write_text(f"X-Scope-OrgID: {tenant}\n")
            run(f"{store.url()}/api/v1/write", f"--push.headers-file={headers}", *flags)
            return len(written_to(store)) - before

        assert writes(1) > 0
        assert writes(1) == 0
        assert writes(2) > 0
        assert writes(2, f"--push.query-url={store.url()}/other") > 0
        assert writes(2) == 0


@pytest.mark.parametrize("status", [500, 429])
def test_a_store_that_hangs_is_waited_for_no_longer_than_one_that_fails(status: int) -> None:
    clock = [0.0]

    def pass_by(seconds: float) -> None:
        clock[0] += seconds

    with listening(lambda _: (status, None)) as server:
        store = push.Store(server.url(), server.url(), {}, pass_by, lambda: clock[0])
        hung = store.push
        post = store._http.post  # noqa: SLF001 - its time

        def slow(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - handed on
            pass_by(push._TIMEOUT)  # noqa: SLF001 - as long as a time-out
            return post(*given, **named)

        store._http.post = slow  # type: ignore[method-assign]  # noqa: SLF001
        with store, pytest.raises(StartError, match=f"HTTP {status} for 60 s"):
            hung(b"")
    assert clock[0] <= 2 * push.PATIENCE


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("out of order sample", True),
        ("out of bounds", True),
        ("too old sample", True),
        ("label name is not valid: canary", False),
    ],
)
def test_only_a_store_that_says_too_old_is_given_the_hint(words: str, hint: bool) -> None:
    with (
        listening(lambda _: (400, {"error": words})) as server,
        push.Store(server.url(), server.url(), {}) as store,
        pytest.raises(StartError) as told,
    ):
        store.push(b"")
    assert ("out_of_order_time_window" in str(told.value)) is hint
    assert "canary" not in str(told.value)


def test_headers_of_a_file_go_to_the_store_with_everything(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "PATIENCE", 0.1)
    monkeypatch.setattr(push, "READ_BACK", 20)
    headers = tmp_path / "headers"
    headers.write_text("Authorization: Bearer token-1\nX-Scope-OrgID: 7\n")
    with (
        listening(lambda _: (200, {})) as store,
        pytest.raises(StartError, match="missing or differ"),
    ):
        run(f"{store.url()}/api/v1/write", f"--push.headers-file={headers}")
    assert {one.headers["Authorization"] for one in store.asked} == {"Bearer token-1"}
    assert {one.headers["X-Scope-OrgID"] for one in store.asked} == {"7"}
