"""A store that cannot hold a catalogue is told before anything is lost in it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from catalog.commits import CatalogError, check_catalog, create_catalog
from catalog.fitness import try_store
from catalog.store import S3Options, Store, open_store
from service.cli import main


class Careless(ThreadingHTTPServer):
    """A proxy before an S3 endpoint that forgets conditions: `If-None-Match`, `If-Match`."""

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forgetting)
        self.upstream = urlsplit(upstream).netloc
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Forgetting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        forgotten = ("if-none-match", "if-match", "expect")
        headers = {k: v for k, v in self.headers.items() if k.lower() not in forgotten}
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)  # type: ignore[attr-defined]
        connection.request(self.command, self.path, body, headers)
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = forward

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def careless(s3: Any) -> Iterator[Store]:
    proxy = Careless(s3.endpoint)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    yield open_store(s3.url("place"), S3Options(endpoint_url=proxy.url))
    proxy.shutdown()
    proxy.server_close()


def test_a_store_that_keeps_its_promises(store: Store) -> None:
    findings = list(try_store(store))
    assert all(finding.kept for finding in findings), findings
    assert list(store.list()) == [], "nothing is left"


def test_a_store_that_ignores_conditions(careless: Store) -> None:
    kept = {finding.promise: finding.kept for finding in try_store(careless)}
    assert list(kept.values()) == [False, False, True, False, True], kept
    assert list(careless.list()) == []


def test_no_catalogue_begins_in_such_a_store(careless: Store) -> None:
    with pytest.raises(CatalogError, match="ignores the condition of a conditional PUT"):
        create_catalog(careless)


def test_a_catalogue_begun_twice_is_one(store: Store) -> None:
    create_catalog(store)
    header = store.fetch("tidepick.json")
    create_catalog(store)
    check_catalog(store)
    assert store.fetch("tidepick.json") == header


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-store", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "winners in 5 rounds: 1, 1, 1, 1, 1" in " ".join(shown.split())
    assert f"{tmp_path}: a catalogue may live here" in " ".join(shown.split())
    assert main(["check-store", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fit"] is True
    assert list(tmp_path.iterdir()) == []
