"""The verbs that commits rest on, on a local directory and on S3."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import Refusal
from catalog.store import (
    MissingObject,
    ObjectChanged,
    S3Store,
    Store,
    StoreError,
    fetch_all,
    open_store,
)


def test_what_is_created_is_fetched_and_listed(store: Store) -> None:
    assert store.create("a/b.json", b"one") and store.create("a/c.json", b"two")
    body, etag = store.fetch("a/b.json")
    listed = {entry.key: entry for entry in store.list("a/")}
    assert body == b"one" and list(listed) == ["a/b.json", "a/c.json"]
    assert listed["a/b.json"].etag == etag and listed["a/b.json"].size == 3
    assert fetch_all(store, ["a/c.json", "a/b.json"]) == [b"two", b"one"]
    assert [entry.key for entry in store.list("a/b")] == ["a/b.json"]
    assert list(store.list("nothing/")) == []


def test_a_listing_is_in_the_order_of_keys_and_folders_are_named(store: Store) -> None:
    """`-` stands before `/` and `0` after it, also where a folder bears the name."""
    keys = ["a-/x", "a/b-c", "a/b/deep/x", "a/b0", "a.json", "b/x"]
    for key in keys:
        store.create(key, b"")
    assert [entry.key for entry in store.list()] == sorted(keys)
    assert [entry.key for entry in store.list("a/b")] == ["a/b-c", "a/b/deep/x", "a/b0"]
    assert store.folders("") == ["a", "a-", "b"] and store.folders("a/") == ["b"]
    assert store.folders("nothing/") == []


def test_a_listing_of_many_pages_is_whole(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(s3.url("many"))
    for k in range(7):
        store.create(f"{k}", b"")
    page = S3Store._page
    monkeypatch.setattr(S3Store, "_page", lambda self, which: page(self, {**which, "MaxKeys": 3}))
    assert [entry.key for entry in store.list()] == list("0123456")


def test_a_missing_object_names_its_url(store: Store) -> None:
    with pytest.raises(MissingObject, match=r"nothing/here\.json"):
        store.fetch("nothing/here.json")


def test_parts_of_an_object_are_of_one_version(store: Store) -> None:
    store.create("a", bytes(range(100)))
    _, etag = store.fetch("a")
    part = store.fetch_part("a", 10, 20)
    assert (part.body, part.size, part.etag) == (bytes(range(10, 20)), 100, etag)
    assert store.fetch_part("a", 90, 200, etag).body == bytes(range(90, 100))
    with pytest.raises(ObjectChanged, match="/a"):
        store.fetch_part("a", 0, 10, "another")
    with pytest.raises(MissingObject):
        store.fetch_part("b", 0, 10, etag)
    store.create("empty", b"")
    nothing = store.fetch_part("empty", 0, 10)
    assert (nothing.body, nothing.size) == (b"", 0)


def test_a_key_is_taken_once_and_the_same_body_again_is_a_success(store: Store) -> None:
    assert store.create("commit.json", b"mine")
    assert not store.create("commit.json", b"yours")
    assert store.create("commit.json", b"mine"), "a lost reply is settled by reading it back"
    assert store.fetch("commit.json")[0] == b"mine"


def test_one_winner_of_many_at_once(store: Store) -> None:
    won: list[int] = []
    gate = threading.Barrier(8)

    def contend(k: int) -> None:
        gate.wait()
        if store.create("race.json", f"writer {k}".encode()):
            won.append(k)

    threads = [threading.Thread(target=contend, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.fetch("race.json")[0] == f"writer {won[0]}".encode()


def test_a_writer_killed_before_the_link_leaves_the_key_free(tmp_path: Path) -> None:
    """An empty or half-written commit would block its shard for ever."""
    script = (
        "import os, signal, sys\n"
        "from catalog.store import open_store\n"
        "os.link = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "open_store(sys.argv[1]).create('commits/x.json', b'half')\n"
    )
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    store = open_store(str(tmp_path))
    assert list(store.list()) == []
    assert store.create("commits/x.json", b"whole")


def test_a_url_of_another_kind_is_refused() -> None:
    with pytest.raises(Refusal, match="s3://"):
        open_store("ftp://somewhere/else")


def test_a_missing_bucket_is_no_silence(s3: Any) -> None:
    with pytest.raises(StoreError, match="no such bucket: s3://no-such-bucket;"):
        list(open_store("s3://no-such-bucket/prefix").list())
