"""Files by HTTP from servers that drop connections, lie about lengths, ignore what they are asked, or refuse."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from shard_server import Behaviour, Files, serving

from prepare.data import download
from prepare.data.corpora import PreparationError
from prepare.data.download import Receipt, RetryPolicy, fetch, receipt_of

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA = hashlib.sha256(CONTENT).hexdigest()
Serve = Callable[..., Files]


class Naps(list[float]):
    """A sleep that only writes down."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def retry(naps: Naps) -> RetryPolicy:
    return RetryPolicy(attempts=4, timeout=20.0, sleep=naps)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve one file, with the behaviours in their order; after them, well."""
    with serving(Files({"shard": CONTENT})) as files:

        def behaving(*behaviours: Behaviour) -> Files:
            files.behave = lambda number: behaviours[number] if number < len(behaviours) else Behaviour()
            return files

        yield behaving


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "shard"


def whole(path: Path) -> bool:
    """It is there, all of it, with its receipt, and nothing else is left."""
    left = {other.name for other in path.parent.iterdir()}
    return path.read_bytes() == CONTENT and left == {"shard", "shard.json", "shard.lock"}


def test_a_file_comes_whole_and_is_not_fetched_again(serve: Serve, path: Path, retry: RetryPolicy) -> None:
    files = serve()
    told: list[int] = []
    assert fetch(f"{files.url}/shard", path, retry=retry, advance=told.append) == Receipt(len(CONTENT), SHA)
    assert whole(path)
    assert told[-1] == len(CONTENT)
    assert sorted(told) == told
    assert fetch(f"{files.url}/shard", path, retry=retry).sha256 == SHA
    assert len(files.asked) == 1


def test_a_dropped_connection_goes_on_where_it_broke_off(
    serve: Serve, path: Path, retry: RetryPolicy, naps: Naps
) -> None:
    files = serve(Behaviour(send=1_000_000), Behaviour(send=500_000), Behaviour(send=1))
    fetch(f"{files.url}/shard", path, retry=retry)
    assert whole(path)
    assert [asked for _, asked in files.asked] == [None, "bytes=1000000-", "bytes=1500000-", "bytes=1500001-"]
    assert naps == [1.0, 1.0, 1.0]  # something came each time


def test_another_process_goes_on_too(serve: Serve, path: Path, retry: RetryPolicy) -> None:
    files = serve(Behaviour(send=1_000_000), *[Behaviour(status=503)] * 4)
    with pytest.raises(PreparationError, match=r"could not download .* 503.* The part received is kept"):
        fetch(f"{files.url}/shard", path, retry=retry)
    assert not path.exists()  # a part is never taken for the whole
    assert receipt_of(path) is None
    fetch(f"{files.url}/shard", path, retry=retry)
    assert whole(path)
    assert files.asked[-1][1] == "bytes=1000000-"


@pytest.mark.parametrize(
    ("behaviours", "requests"),
    [
        ([Behaviour(send=1_000_000), Behaviour(ignore_range=True)], 2),  # 200 to a Range: from the start
        ([Behaviour(send=1_000_000), Behaviour(wrong_range=True)], 3),
        ([Behaviour(send=1_000_000, etag='"old"')], 2),  # the file has changed meanwhile: 200, from the start
        ([Behaviour(send=1_000_000, etag="")], 2),  # no version to go on with
        ([Behaviour(send=1_000_000, etag='W/"weak"')], 2),
        ([Behaviour(claim=4_000_000, etag='"other"')], 2),  # more is announced than comes
        ([Behaviour(status=500), Behaviour(status=429)], 3),
        ([Behaviour(send=0)], 2),
    ],
)
def test_it_comes_whole_in_the_end(
    serve: Serve, path: Path, retry: RetryPolicy, behaviours: list[Behaviour], requests: int
) -> None:
    files = serve(*behaviours)
    fetch(f"{files.url}/shard", path, retry=retry)
    assert whole(path)
    assert len(files.asked) == requests


def test_a_length_that_is_too_short_is_noticed_by_the_hash_that_the_server_states(
    serve: Serve, path: Path, retry: RetryPolicy
) -> None:
    files = serve(Behaviour(claim=1_000_000))
    fetch(f"{files.url}/shard", path, retry=retry)
    assert whole(path)
    assert len(files.asked) == 2


def test_a_store_behind_a_redirect_has_a_hash_of_its_own(serve: Serve, path: Path, retry: RetryPolicy) -> None:
    files = serve(Behaviour(), Behaviour(claim=1_000_000), Behaviour(), Behaviour(send=1_000_000))
    files.store = True
    fetch(f"{files.url}/shard", path, retry=retry)
    assert whole(path)
    # Too little came at first: the hash that the redirect states told. Then the connection broke off.
    ranges = [None, None, "bytes=1000000-"]
    assert files.asked == [(place, asked) for asked in ranges for place in ("/shard", "/store/shard")]


def test_a_length_that_is_too_short_is_noticed_by_the_format(serve: Serve, path: Path, retry: RetryPolicy) -> None:
    files = serve(Behaviour(claim=1_000_000, etag='"opaque"'))

    def fault(file: Path) -> str | None:
        return None if file.read_bytes().endswith(CONTENT[-4:]) else "cut short"

    with pytest.raises(PreparationError, match="gave a file that is cut short"):
        fetch(f"{files.url}/shard", path, retry=retry, fault=fault)
    assert not path.exists()
    fetch(f"{files.url}/shard", path, retry=retry, fault=fault)
    assert whole(path)


def test_waits_double_while_nothing_comes(serve: Serve, path: Path, retry: RetryPolicy, naps: Naps) -> None:
    files = serve(*[Behaviour(status=503)] * 9)
    with pytest.raises(PreparationError, match="4 attempts"):
        fetch(f"{files.url}/shard", path, retry=retry)
    assert naps == [1.0, 2.0, 4.0]
    assert len(files.asked) == 4


def test_a_server_may_say_how_long_to_wait(serve: Serve, path: Path, retry: RetryPolicy, naps: Naps) -> None:
    files = serve(
        Behaviour(status=503, headers={"Retry-After": "7"}), Behaviour(status=429, headers={"Retry-After": "9999"})
    )
    fetch(f"{files.url}/shard", path, retry=retry)
    assert naps == [7.0, 30.0]


def test_a_server_that_always_begins_anew_does_not_keep_us_for_ever(
    serve: Serve, path: Path, retry: RetryPolicy
) -> None:
    files = serve(*[Behaviour(send=1000, etag=f'"{number}"') for number in range(50)])
    with pytest.raises(PreparationError, match="could not download"):
        fetch(f"{files.url}/shard", path, retry=retry)
    assert len(files.asked) < 10


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_no_repetition_mends_is_not_repeated(serve: Serve, path: Path, retry: RetryPolicy, status: int) -> None:
    files = serve(*[Behaviour(status=status)] * 9)
    with pytest.raises(PreparationError, match=rf"answered {status} .*data\.url"):
        fetch(f"{files.url}/shard", path, retry=retry)
    assert len(files.asked) == 1


@pytest.mark.parametrize("url", ["no-address", "http://127.0.0.1:1/shard", "ftp2://host/x"])
def test_nobody_there(path: Path, retry: RetryPolicy, url: str) -> None:
    with pytest.raises(PreparationError, match=r"could not download|is not a download address"):
        fetch(url, path, retry=retry)
    assert not path.exists()


def test_a_damaged_file_is_fetched_again(serve: Serve, path: Path, retry: RetryPolicy) -> None:
    files = serve()
    fetch(f"{files.url}/shard", path, retry=retry)
    path.write_bytes(b"?" + CONTENT[1:])
    fetch(f"{files.url}/shard", path, retry=retry)
    assert whole(path)
    path.write_bytes(CONTENT[:-1])
    fetch(f"{files.url}/shard", path, retry=retry)
    assert whole(path)


def test_another_file_than_the_first_time_is_refused(serve: Serve, path: Path, retry: RetryPolicy) -> None:
    files = serve()
    fetch(f"{files.url}/shard", path, retry=retry)
    path.unlink()
    files.contents["shard"] = CONTENT[::-1]
    with pytest.raises(PreparationError, match="differs from the file that was fetched first"):
        fetch(f"{files.url}/shard", path, retry=retry)
    assert not path.exists()


def test_a_file_that_somebody_copied_here_is_taken(path: Path, retry: RetryPolicy) -> None:
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert fetch("http://127.0.0.1:1/shard", path, retry=retry).sha256 == SHA
    assert receipt_of(path) == Receipt(len(CONTENT), SHA)


def test_one_that_was_whole_when_it_was_interrupted_is_not_fetched_again(
    serve: Serve, path: Path, retry: RetryPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = serve()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "Receipt", stop)
        with pytest.raises(KeyboardInterrupt):
            fetch(f"{files.url}/shard", path, retry=retry)
    fetch(f"{files.url}/shard", path, retry=retry)
    assert whole(path)
    assert len(files.asked) == 1


def test_several_at_once_fetch_it_once(serve: Serve, path: Path, retry: RetryPolicy) -> None:
    files = serve()
    threads = [threading.Thread(target=fetch, args=(f"{files.url}/shard", path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert whole(path)
    assert len(files.asked) == 1


@pytest.mark.parametrize("text", ["", "{}", "[1]", json.dumps({"size": "x", "sha256": 1})])
def test_a_receipt_that_cannot_be_read_is_none(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.with_name("shard.json").write_text(text)
    assert receipt_of(path) is None
