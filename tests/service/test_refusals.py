"""What is refused: one line that names the field and the fix, exit code 2, and nothing written."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from catalog.commits import create_catalog, register_candidates
from catalog.schema import TraceId, day_start_ns
from catalog.store import open_store
from service.campaign import load_campaign
from service.cli import main
from service.prepare import candidate_record, candidate_weights
from workers.synthetic import station_day, write_sds
from workers.weights import BUILTIN

ROOT = Path(__file__).parents[2]

CAMPAIGN = """\
name = "refused"
catalog = "catalog"
[archive]
kind = "sds"
root = "archive"
[select]
stations = ["XX.*"]
start = 2024-02-29
end = 2024-03-02
[[candidate]]
name = "synthetic"
weights = "builtin:synthetic"
[compute]
workers = 1
"""

SECOND = '[[candidate]]\nname = "{}"\nweights = "builtin:synthetic"\n[compute]'

Told = Callable[..., str]


@pytest.fixture(scope="module")
def sds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of one station: enough to be listed."""
    root = tmp_path_factory.mktemp("refused") / "archive"
    trace, start = TraceId("XX", "ONE", "", "HH"), day_start_ns(date(2024, 2, 29))
    write_sds(root, [station_day(trace, start, 60.0, 0.0, np.random.default_rng(0))])
    return root


@pytest.fixture
def folder(tmp_path: Path, sds: Path) -> Path:
    """A campaign's folder, with the archive in it."""
    (tmp_path / "archive").symlink_to(sds)
    (tmp_path / "campaign.toml").write_text(CAMPAIGN)
    return tmp_path


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Runs a command that must be refused, for people and for machines; returns the one line."""

    def refuse(*arguments: object) -> str:
        words = [str(argument) for argument in arguments]
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("default")
            assert main(words) == 2
        assert not [w for w in warned if issubclass(w.category, UserWarning)]
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("tidepick: ") and err.endswith("\n") and err.count("\n") == 1, err
        assert main([*words, "--json"]) == 2
        out, silent = capsys.readouterr()
        message = err.removeprefix("tidepick: ").removesuffix("\n")
        assert (json.loads(out), silent) == ({"error": message}, "")
        return message

    return refuse


def edit(folder: Path, old: str, new: str) -> Path:
    assert CAMPAIGN.count(old) == 1
    path = folder / "campaign.toml"
    path.write_text(CAMPAIGN.replace(old, new))
    return path


WEIGHTS = 'weights = "builtin:synthetic"'
STATIONS = 'stations = ["XX.*"]'
START, END = "start = 2024-02-29", "end = 2024-03-02"
TABLE = CAMPAIGN[CAMPAIGN.index("[[candidate]]") : CAMPAIGN.index("[compute]")]

FIELDS = {
    # id: what is replaced, by what, and what the line must say
    "broken TOML": (START, "start = 2024-02-30", "campaign.toml: not valid TOML", "line 8"),
    "unknown key": ('name = "refused"', 'nom = "x"', "nom: unknown key", "name, quality, select"),
    "unknown table": ("[compute]", "[computer]", "computer: unknown key", "compute, name"),
    "unknown in archive": ('kind = "sds"', 'kin = "sds"', "archive.kin: unknown", "kind, pattern"),
    "unknown in select": (STATIONS, "station = []", "select.station: unknown", "start, stations"),
    "unknown in candidate": (WEIGHTS, "weight = 1", "candidate[0].weight: unknown", "weights"),
    "unknown in compute": ("workers = 1", "worker = 1", "compute.worker: unknown", "workers"),
    "no name": ('name = "refused"\n', "", "name: missing", "--help"),
    "empty name": ('"refused"', '""', "name: ", "at least 1 character"),
    "name no text": ('"refused"', "5", "name: ", "string", "not 5"),
    "no catalog": ('catalog = "catalog"\n', "", "catalog: missing", "--help"),
    "catalog elsewhere": ('"catalog"', '"gs://bucket/x"', "gs://bucket/x", "s3://"),
    "catalog no bucket": ('"catalog"', '"s3://"', "s3://", "name a bucket"),
    "catalog a file": ('"catalog"', '"campaign.toml"', "campaign.toml", "cannot write"),
    "no archive": ('[archive]\nkind = "sds"\nroot = "archive"\n', "", "archive: missing"),
    "archive no table": ('[archive]\nkind = "sds"\nroot =', "archive =", "archive: ", "archive'"),
    "archive kind": ('"sds"', '"sdss"', "archive.kind: ", "'sds', 'files', 'zarr'", "'sdss'"),
    "archive missing": ('"archive"', '"nowhere"', "nowhere", "[archive] root"),
    "archive a file": ('"archive"', '"campaign.toml"', "campaign.toml", "[archive] root"),
    "no stations": (STATIONS + "\n", "", "select.stations: missing"),
    "stations a number": (STATIONS, "stations = 5", "select.stations", "list", "not 5"),
    "stations empty": (STATIONS, "stations = []", "select.stations", "XX.ONE..HH", "NET.STA"),
    "none matches": ('["XX.*"]', '["YY.*"]', "select.stations", "'YY.*'", "XX.ONE..HH"),
    "pattern too short": ('["XX.*"]', '["XX"]', "select.stations 'XX'", "NET.STA[.LOC[.BAND]]"),
    "band a glob": (STATIONS, STATIONS + '\nbands = ["H*"]', "select.bands: 'H*'", "no glob"),
    "band twice": (STATIONS, STATIONS + '\nbands = ["HH", "HH"]', "select.bands: 'HH'", "twice"),
    "no such band": (STATIONS, STATIONS + '\nbands = ["BH"]', "XX.ONE..HH", "select.bands"),
    "no epochs": (
        STATIONS,
        STATIONS + '\nepochs = "no.xml"',
        "select.epochs",
        "no.xml",
        "StationXML",
    ),
    "epochs no text": (
        STATIONS,
        STATIONS + '\nepochs = "campaign.toml"',
        "campaign.toml",
        "column",
    ),
    "no root": ('\nroot = "archive"', "", "archive.root: missing"),
    "pattern too long": ('["XX.*"]', '["X.O..HH.Z"]', "select.stations 'X.O..HH.Z'", "NET.STA"),
    "no stations file": ('["XX.*"]', '"none.txt"', "select.stations", "none.txt", "[", "]"),
    "no start": (START + "\n", "", "select.start: missing"),
    "end before start": (END, "end = 2024-02-01", "select: end 2024-02-01", "half-open"),
    "end is start": (END, "end = 2024-02-29", "select: end 2024-02-29", "half-open"),
    "an hour": (START, "start = 2024-02-29T01:00:00", "select.start: ", "whole UTC days"),
    "a local day": (START, "start = 2024-02-29T00:00:00+02:00", "select.start: ", "UTC days"),
    "no day": (START, 'start = "leap day"', "select.start: 'leap day'", "2022-02-06"),
    "a day as number": (START, "start = 20240229", "select.start: ", "2022-02-06"),
    "beyond int64": (END, "end = 9999-12-31", "select.end: ", "9999-12-31"),
    "no candidate": (TABLE, "", "candidate: missing"),
    "candidate no list": ("[[candidate]]", "[candidate]", "candidate: ", "list"),
    "candidate's name": ('"synthetic"', '"a/b"', "candidate[0].name: ", "not 'a/b'"),
    "floor of nought": (WEIGHTS, WEIGHTS + "\nP_threshold = 0", "candidate[0].P_threshold: "),
    "floor of one": (WEIGHTS, WEIGHTS + "\nS_threshold = 1.0", "candidate[0].S_threshold: "),
    "stacking": (WEIGHTS, WEIGHTS + '\nstacking = "sum"', "candidate[0].stacking: ", "'avg'"),
    "blinding": (WEIGHTS, WEIGHTS + "\nblinding = [0, 2000]", "candidate[0]: blinding", "1500"),
    "two of a name": ("[compute]", SECOND.format("synthetic"), "candidate.name 'synthetic'"),
    "two of a kind": ("[compute]", SECOND.format("b"), "'synthetic' and 'b'", "keep one"),
    "no workers": ("workers = 1", "workers = 0", "compute.workers: ", "not 0"),
    "workers no number": ("workers = 1", 'workers = "many"', "compute.workers: ", "'many'"),
    "endless workers": ("workers = 1", "cpus_per_worker = inf", "compute.cpus_per_worker: "),
    "no hours": ("workers = 1", "max_hours = 0", "compute.max_hours: ", "greater than 0"),
    "cost without price": ("workers = 1", "max_cost = 5", "compute: max_cost needs price_per_hour"),
    "fp16 without GPU": ("workers = 1", 'engine = "fp16"', "compute: engine fp16", "gpus_per_work"),
    "no builtin": ("builtin:synthetic", "builtin:x", "'synthetic'", "'builtin:x'", "use one of"),
    "no weights": ("builtin:synthetic", "x.safetensors", "'synthetic'", "x.safetensors", "no such"),
    "weights a folder": ("builtin:synthetic", "archive", "'synthetic'", "archive", "no such file"),
    "weights a text": ("builtin:synthetic", "campaign.toml", "campaign.toml", ".safetensors"),
}


@pytest.mark.parametrize("case", FIELDS)
def test_a_field_that_does_not_fit(folder: Path, told: Told, case: str) -> None:
    old, new, *said = FIELDS[case]
    message = told("run", edit(folder, old, new))
    assert all(words in message for words in said), message
    assert sorted(path.name for path in folder.iterdir()) == ["archive", "campaign.toml"]


def test_several_faults_are_told_at_once(folder: Path, told: Told) -> None:
    message = told("plan", edit(folder, '"refused"', '""\nworkers = 3'))
    assert "name: " in message and "workers: unknown key" in message


class Runs:
    """A pickle that would run code when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("/tmp/it-ran",))


def saved(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


SHIPPED = (BUILTIN / "synthetic.safetensors").read_bytes()
JSON = (BUILTIN / "synthetic.json").read_text()
OTHER = json.dumps({"model_args": {"in_samples": 6000, "lstm_blocks": 3}})

WEIGHT_FILES: dict[str, tuple[Any, ...]] = {
    # id: the file's ending, its body, the json beside it, and what the line must say
    "no json": (".safetensors", SHIPPED, None, "no w.json beside it", "model.save"),
    "json no JSON": (".safetensors", SHIPPED, "{phases}", "w.json", "not JSON"),
    "json no object": (".safetensors", SHIPPED, "[]", "w.safetensors", "json"),
    "json not UTF-8": (".safetensors", SHIPPED, "\udcff", "w.json", "not JSON"),
    "an error page": (".pt", b"<!DOCTYPE html><html>404</html>", JSON, "w.pt", "state dict"),
    "empty": (".pt", b"", JSON, "w.pt", "state dict"),
    "cut short": (".safetensors", SHIPPED[:999], JSON, "broken safetensors"),
    "a pickled module": (".pt", saved(torch.nn.Linear(2, 2)), JSON, "pickled", "state_dict()"),
    "a bare pickle": (".pt", pickle.dumps(Runs()), JSON, "pickled", "state_dict()"),
    "no tensors": (".pt", saved({"epoch": 3}), JSON, "w.pt", "state_dict()"),
    "another network": (".pt", saved({"conv.weight": torch.ones(2)}), JSON, "'conv.weight'"),
    "another json": (".safetensors", SHIPPED, OTHER, "lstm_blocks", "PhaseNet only"),
}


@pytest.mark.parametrize("case", WEIGHT_FILES)
def test_weights_that_do_not_fit(folder: Path, told: Told, case: str) -> None:
    ending, body, sidecar, *said = WEIGHT_FILES[case]
    (folder / f"w{ending}").write_bytes(body)
    if sidecar is not None:
        (folder / "w.json").write_bytes(sidecar.encode(errors="surrogateescape"))
    message = told("run", edit(folder, "builtin:synthetic", f"w{ending}"))
    assert all(words in message for words in ("candidate 'synthetic'", *said)), message
    assert not (folder / "catalog").exists()
    assert not Path("/tmp/it-ran").exists()


@pytest.mark.parametrize("name", ["none.toml", ".", "campaign.toml/below", "archive/none.toml"])
def test_no_campaign_file(folder: Path, told: Told, name: str) -> None:
    for command in ("plan", "run"):
        assert str(folder / name) in told(command, folder / name)
    assert str(folder / name) in told("submit", folder / name, "--address", "http://127.0.0.1:1")


def test_a_campaign_that_is_no_text(folder: Path, told: Told) -> None:
    (folder / "campaign.toml").write_bytes(b"name = '\xff'")
    assert "not valid TOML" in told("plan", folder / "campaign.toml")


@pytest.mark.parametrize(
    "body", [b"network,station\nXX\n", b"XX.\xff\n", b"# none\n", b"network,station\n"]
)
def test_a_stations_file_that_does_not_fit(folder: Path, told: Told, body: bytes) -> None:
    (folder / "stations.csv").write_bytes(body)
    message = told("plan", edit(folder, '["XX.*"]', '"stations.csv"'))
    assert "select.stations" in message and "stations.csv" in message


CLASHES = {
    "other weights": ("builtin:synthetic", "builtin:synthetic_early", "stands for weights"),
    "other floor": (WEIGHTS, WEIGHTS + "\nP_threshold = 0.2", "floors"),
    "other engine": ("workers = 1", 'engine = "exact"', "engine = 'fast', not 'exact'"),
    "other name": ('"synthetic"', '"again"', "'again'", "already candidate 'synthetic'"),
    "a new one beside it": (
        TABLE,
        '[[candidate]]\nname = "early"\nweights = "builtin:synthetic_early"\n'
        + TABLE.replace("builtin:synthetic", "builtin:synthetic_early")
        + "blinding = [5, 5]\n",
        "stands for weights",
    ),
}


@pytest.mark.parametrize("case", CLASHES)
def test_a_name_that_stands_for_something_else(folder: Path, told: Told, case: str) -> None:
    campaign = load_campaign(folder / "campaign.toml")
    store = open_store(campaign.catalog)
    create_catalog(store)
    (config,) = campaign.candidate
    register_candidates(store, [candidate_record(campaign, config, candidate_weights(config))])
    before = list(store.list())
    old, new, *said = CLASHES[case]
    message = told("run", edit(folder, old, new))
    assert all(words in message for words in (*said, str(folder / "catalog"))), message
    assert list(store.list()) == before


def test_an_unknown_outcome_to_retry(folder: Path, told: Told) -> None:
    message = told("run", folder / "campaign.toml", "--retry", "failed,lost")
    assert "--retry 'lost'" in message and "no_data" in message


@pytest.mark.parametrize("part", ["candidate=x", "month=7", "run=3", "time=now"])
def test_a_catalogue_below_a_folder_that_reads_as_a_column(
    folder: Path, told: Told, part: str
) -> None:
    message = told("run", edit(folder, '"catalog"', f'"{part}/catalog"'))
    assert f"{part}/catalog" in message and f"'{part}'" in message
    assert not (folder / part).exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_catalogue_that_may_not_be_written(folder: Path, told: Told) -> None:
    (folder / "catalog").mkdir(mode=0o555)
    assert "catalog" in told("run", folder / "campaign.toml")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc, where nobody may write")
def test_a_catalogue_that_nobody_may_write(folder: Path, told: Told) -> None:
    message = told("run", edit(folder, '"catalog"', '"/proc/catalog"'))
    assert "/proc/catalog" in message and "write" in message


NO_CATALOGUES: dict[str, str | None] = {
    # id: what its tidepick.json holds, if it is there
    "an empty folder": None,
    "another's": "hello",
    "a list": "[]",
    "of another version": '{"schema": 0, "semantics": 1}',
}


@pytest.mark.parametrize("case", NO_CATALOGUES)
def test_what_is_no_catalogue(tmp_path: Path, told: Told, case: str) -> None:
    header = NO_CATALOGUES[case]
    if header is not None:
        (tmp_path / "tidepick.json").write_text(header)
    for arguments in (("status", tmp_path), ("query", tmp_path, "SELECT 1")):
        assert f"catalog {tmp_path}: " in told(*arguments)


@pytest.mark.parametrize("name", ["none", "campaign.toml"])
def test_where_no_catalogue_can_be(folder: Path, told: Told, name: str) -> None:
    for arguments in (("status", folder / name), ("query", folder / name, "SELECT 1")):
        assert f"catalog {folder / name}: no catalogue there" in told(*arguments)


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    create_catalog(open_store(str(tmp_path / "catalog")))
    return tmp_path / "catalog"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELEKT 1", "SELEKT"),
        ("SELECT * FROM pick", "pick"),
        ("SELECT statoin FROM picks", "statoin"),
        ("SELECT * FROM picks_at()", "picks_at"),
        ("", "SELECT"),
        ("SELECT 1; SELECT 'x'::INT", "x"),
    ],
)
def test_bad_sql(catalog: Path, told: Told, sql: str, said: str) -> None:
    assert said in told("query", catalog, sql)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rows.txt", ".parquet or .csv"),
        ("none/rows.csv", "none/rows.csv"),
        ("none/rows.parquet", "none/rows.parquet"),
    ],
)
def test_an_output_that_cannot_be(catalog: Path, told: Told, name: str, said: str) -> None:
    message = told("query", catalog, "SELECT 1", "--output", catalog.parent / name)
    assert "--output" in message and said in message


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of loopback that stays bound and does not listen."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.parametrize("command", ["run", "submit"])
def test_an_address_where_nothing_listens(folder: Path, command: str, closed_port: int) -> None:
    """As a real process, so that one that waits for ever is ended."""
    scheme, fix = {"run": ("", "HOST:6379"), "submit": ("http://", "http://HEAD:8265")}[command]
    address = f"{scheme}127.0.0.1:{closed_port}"
    done = tidepick(command, folder / "campaign.toml", "--address", address)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith(f"tidepick: --address {address}: ") and fix in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:99999", "ray://head:1"])
def test_an_address_that_is_none(folder: Path, told: Told, address: str) -> None:
    campaign = folder / "campaign.toml"
    for command, fix in (("run", "HOST:6379"), ("submit", "http://HEAD:8265")):
        message = told(command, campaign, "--address", address)
        assert message.startswith(f"--address {address}: ") and fix in message


def test_a_real_process_is_refused_in_one_line(tmp_path: Path) -> None:
    done = tidepick("run", tmp_path / "none.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"tidepick: campaign {tmp_path}/none.toml: no such file\n"


def tidepick(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_ingest_of_nothing(folder: Path, told: Told) -> None:
    days = ("--start", "2024-02-29", "--end", "2024-03-01")
    source, target = folder / "archive", folder / "zarr"
    assert "--stations YY.*" in told("ingest", source, target, *days, "--stations", "YY.*")
    assert str(folder / "none") in told("ingest", folder / "none", target, *days)
    assert "--end" in told("ingest", source, target, *days[:3], "2024-02-29")
    assert not target.exists()
