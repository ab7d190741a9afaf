"""Battles by rule over a catalogue's continuous days, where arrivals were read.

Windows are proposed as the arena proposes them. Where the arrivals are not complete only windows
that hold one are judged: an analyst looked there, so that a pick without an arrival is most likely
none; in any other window whoever picks less would win.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from catalog.battles import RULED_SCHEMA
from catalog.schema import StationDay, day_of
from catalog.truth import ARRIVAL_SCHEMA
from eval.arena.battles import battles
from eval.arena.proposals import WINDOW_S, WINDOWS, propose
from eval.arena.tallies import WINDOW_SCHEMA, of_picks
from eval.arena.windows import Stretch, stretch_of
from eval.continuous import nanoseconds
from eval.strata import UNKNOWN
from eval.thresholds import Frozen, picks_at
from service.evaluate.config import Evaluation
from service.evaluate.days.continuous import Judged
from service.evaluate.days.station_days import StationDays
from service.evaluate.pieces import Workbench

STRATA = ("distance", "snr", "network")
"""What a proposed window's stratum is made of."""


@dataclass(frozen=True, slots=True)
class DayBattles:
    """The rule over the days of an evaluation. picks: at the thresholds."""

    judged: Judged
    frozen: Frozen
    names: Sequence[str]
    picks: pa.Table
    seed: int

    @classmethod
    def of(
        cls, evaluation: Evaluation, frozen: Frozen, names: Sequence[str], bench: Workbench
    ) -> DayBattles:
        """names: candidates that have thresholds. Raises Refusal where a threshold is below what
        the catalogue stores."""
        judged = Judged.of(evaluation, Path(evaluation.out), bench)
        judged.days.check_thresholds(frozen.thresholds, names)
        own = judged.picks.filter(
            pc.is_in(judged.picks["candidate"].cast(pa.string()), pa.array(names))
        )
        return cls(judged, frozen, names, picks_at(own, frozen.thresholds), evaluation.seed)

    def proposed(self) -> tuple[pa.Table, pa.Table]:
        """Rulings, and their windows: `window` and its bin in each of STRATA.

        The windows have a pick or an arrival; at most WINDOWS.
        """
        found = propose(
            self.picks.drop_columns(["snr_db"]),
            _candidates_on(self.judged.days, self.names),
            self.judged.arrivals,
            WINDOW_S,
            WINDOWS,
            self.seed,
        )
        windows = self._looked_at(found.windows.select(WINDOW_SCHEMA.names))
        parts = [stratum.split(" | ") for stratum in windows["stratum"].to_pylist()]
        bins = {name: [part[k] for part in parts] for k, name in enumerate(STRATA)}
        columns = {name: pa.array(each, pa.string()) for name, each in bins.items()}
        return self._rulings(windows), pa.table({"window": windows["window"]} | columns)

    def rulings_on(self, windows: Iterable[str]) -> pa.Table:
        """Rulings on those of the windows that are stretches of these station-days."""
        rows = []
        for name in sorted(set(windows)):
            stretch = stretch_of(name)
            if stretch is not None and self._holds(stretch):
                rows.append(_row(name, stretch))
        return self._rulings(self._looked_at(pa.Table.from_pylist(rows, WINDOW_SCHEMA)))

    def _rulings(self, windows: pa.Table) -> pa.Table:
        """RULED_SCHEMA: every pair on every window."""
        arrivals = self.judged.arrivals.select(ARRIVAL_SCHEMA.names)
        if windows.num_rows == 0:
            return RULED_SCHEMA.empty_table()
        return battles(of_picks(self.picks, arrivals, windows, self.frozen, self.names))

    def _holds(self, stretch: Stretch) -> bool:
        ends = day_of(stretch.start), day_of(stretch.end - 1)
        return all(StationDay(stretch.trace, day) in self.judged.days.held for day in ends)

    def _looked_at(self, windows: pa.Table) -> pa.Table:
        if self.judged.settings.complete:
            return windows
        read: dict[tuple[str, str, str], list[int]] = {}
        arrivals = self.judged.arrivals
        places = arrivals.select(["network", "station", "location"]).to_pylist()
        for place, ns in zip(places, nanoseconds(arrivals).tolist(), strict=True):
            read.setdefault(
                (place["network"], place["station"], place["location"] or ""), []
            ).append(ns)
        starts, ends = (windows[name].cast(pa.int64()).to_pylist() for name in ("start", "end"))
        kept = [
            any(
                start <= ns < end
                for ns in read.get((row["network"], row["station"], row["location"]), ())
            )
            for row, start, end in zip(windows.to_pylist(), starts, ends, strict=True)
        ]
        return windows.filter(pa.array(kept, pa.bool_()))


def _candidates_on(days: StationDays, names: Sequence[str]) -> pa.Table:
    """`propose`'s days: every candidate picked all of them."""
    rows = [
        {
            "network": day.trace.network,
            "station": day.trace.station,
            "location": day.trace.location,
            "band": day.trace.band,
            "day": day.day,
            "candidates": list(names),
        }
        for day in days.held
    ]
    return pa.Table.from_pylist(rows)


def _row(name: str, stretch: Stretch) -> dict[str, object]:
    trace = stretch.trace
    codes = {"network": trace.network, "station": trace.station, "location": trace.location}
    return {"window": name, "stratum": UNKNOWN, "start": stretch.start, "end": stretch.end, **codes}
