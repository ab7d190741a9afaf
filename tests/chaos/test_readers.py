"""Readers of an endpoint that is out of sorts."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.store import open_store
from tests.chaos.endpoints import options
from tests.chaos.proxy import Proxy
from tests.servers import free_port

FILES = 16


@contextmanager
def through(
    upstream: str, rates: Mapping[str, float], kind: type[Proxy] = Proxy
) -> Iterator[tuple[str, Proxy]]:
    """URL of a proxy in a thread of this process."""
    loop, port = asyncio.new_event_loop(), free_port()
    proxy = kind(upstream, 0, rates)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(proxy.open(port), loop).result()
        yield f"http://127.0.0.1:{port}", proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_query_passes_over_what_passes(s3: Any) -> None:
    """DuckDB reads through a file system of its own, which gave up at the first 429 or 500."""
    store = open_store(s3.url("catalog"))
    for k in range(FILES):
        sink = io.BytesIO()
        pq.write_table(pa.table({"k": [k]}), sink)
        store.create(f"{k}.parquet", sink.getvalue())
    rates = {"429": 0.15, "500": 0.03, "503, Retry-After": 0.02, "cut in the reply": 0.1}
    with through(s3.endpoint, rates) as (url, proxy), duckdb.connect() as connection:
        faulty = open_store(s3.url("catalog"), options(url))
        connection.register_filesystem(faulty.filesystem())
        files = [faulty.url_of(f"{k}.parquet") for k in range(FILES)]
        assert connection.sql(f"SELECT sum(k) FROM read_parquet({files})").fetchall() == [
            (sum(range(FILES)),)
        ]
    assert proxy.faults["429"] and proxy.faults["cut in the reply"], proxy.faults
