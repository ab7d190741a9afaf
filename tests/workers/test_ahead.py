"""A station-day is read while the one before it is picked."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from catalog.schema import Shard, StationDay, TraceId
from workers.archives import Archive, ArchiveConfig, open_archive
from workers.candidate import Candidate
from workers.pipeline import pick_shard
from workers.synthetic import station_day, write_sds
from workers.tensors import Eager, TensorEngine
from workers.waveform import Reading
from workers.weights import resolve

DAY = date(2024, 3, 1)
TRACES = tuple(TraceId("XX", station, "", "HH") for station in ("ONE", "TWO"))
PATIENCE_S = 10.0
"""Spent only where what is waited for never comes."""


class Rendezvous:
    """An archive that reads the second trace only once the first is being picked."""

    def __init__(self, archive: Archive) -> None:
        self.holdings, self._archive = archive.holdings, archive
        self.picking, self.read_on = Event(), Event()
        self.met: list[bool] = []

    def read(self, trace: TraceId, start_ns: int, end_ns: int) -> Reading:
        if trace == TRACES[1]:
            self.met.append(self.picking.wait(PATIENCE_S))
        found = self._archive.read(trace, start_ns, end_ns)
        if trace == TRACES[1]:
            self.read_on.set()
        return found


class Patient(TensorEngine):
    """An engine that picks nothing before the second trace has been read."""

    rendezvous: Rendezvous

    def curves(self, *what: Any) -> Any:
        self.rendezvous.picking.set()
        self.rendezvous.met.append(self.rendezvous.read_on.wait(PATIENCE_S))
        return super().curves(*what)


def test_a_station_day_is_read_while_the_one_before_it_is_picked(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    begin = StationDay(TRACES[0], DAY).start_ns + 10**9
    write_sds(tmp_path, [station_day(trace, begin, 120.0, 60.0, rng) for trace in TRACES])
    engine = Patient(Eager(), "cpu", 64, 1)
    engine.rendezvous = Rendezvous(open_archive(ArchiveConfig(kind="sds", root=str(tmp_path))))
    one = Candidate.of("c", [resolve("builtin:synthetic")], engine, {"P": 0.1, "S": 0.1})
    days = pick_shard(engine.rendezvous, Shard(TRACES, DAY, DAY + timedelta(days=1)), [one])
    assert [day.picked["c"].outcome for day in days] == ["picked", "picked"]
    assert engine.rendezvous.met == [True, True, True], "both waited, and neither in vain"
