"""Windows of labelled traces that an evaluation has judged: the ground of battles over benchmarks.

Each is the window that the oracle cut, whose label stands at a known sample. So what is shown is
less than that window by SLACK_S, and begins at a place that is drawn anew for each.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import Refusal
from catalog.schema import digest
from eval.arena.battles import disagreement
from eval.arena.proposals import WINDOWS
from eval.arena.tallies import of_traces
from eval.arena.windows import traces_called
from eval.strata import UNKNOWN
from eval.traces import conformed
from service.evaluate.config import Evaluation
from service.evaluate.days.ready import ready_for_traces
from service.evaluate.tables import kept
from service.web.contenders import Contender, Contenders
from service.web.drawing import drawing
from service.web.ground import Json
from workers.decode import BadFormat
from workers.labelled import READERS, open_labelled
from workers.labelled.traces import Labelled, LabelledTrace, Piece
from workers.labelled_windows import NotRun
from workers.trace_snippets import TraceWindow, picks_of, trace_window
from workers.waveform import NS

SLACK_S = 6
STRATA = ("dist_bin", "snr_bin", "network")
PIECE = 512
KEPT = 64
"""Windows that are kept with everybody's curves, 0.2 MB and less each."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a trace lies: one trace of a benchmark."""

    dataset: str
    trace_name: str
    labelled: Labelled
    piece: Piece


class TraceWindows:
    """Of one thread at a time."""

    what = "labelled traces"

    def __init__(self, evaluation: Evaluation, contenders: Contenders, seed: int) -> None:
        """Raises Refusal where no per-trace table is kept, and BenchmarkError."""
        self._contenders: Mapping[str, Contender] = contenders.on_traces
        self._seed = seed
        self._candidates = ready_for_traces(evaluation, contenders.on_traces.keys())
        self._kept: OrderedDict[str, TraceWindow] = OrderedDict()
        table = _judged(evaluation, self._candidates)
        self._places = _places(evaluation, set(traces_called(table).to_pylist()))
        tallies = of_traces(table, contenders.frozen, STRATA)
        every = disagreement(tallies)
        there = [name for name in pc.unique(every["window"]).to_pylist() if name in self._places]
        chosen = set(sorted(there, key=self._chance)[:WINDOWS])
        stratum = dict(
            zip(tallies["window"].to_pylist(), tallies["stratum"].to_pylist(), strict=True)
        )
        self.windows: Mapping[str, str] = {n: stratum[n] for n in there if n in chosen}
        self.disagreements: pa.Table = every.filter(
            pc.is_in(every["window"], pa.array(sorted(chosen), pa.string()))
        )

    def holds(self, window: str) -> bool:
        return window in self._places

    def view(self, window: str, sides: Mapping[str, str]) -> Json:
        whole = self._window(window).of(set(sides.values()))
        start, end = self._shown(window)
        picks = {}
        for snippet in whole.snippets:
            for name in snippet.curves:
                found = picks_of(snippet, name, self._contenders[name].thresholds)
                picks[name] = [
                    {"phase": phase, "ns": ns, "probability": probability}
                    for phase, ns, probability in found
                    if start <= ns < end
                ]
        view = drawing(whole.cut(start, end).snippets, sides, picks, start)
        return view | {"seconds": view["count"] / view["rate"]}

    def told(self, window: str) -> Json:
        place = self._places[window]
        start, _ = self._shown(window)
        return {
            "dataset": place.dataset,
            "trace_name": place.trace_name,
            "arrivals": [
                {"phase": phase, "time": round((ns - start) / NS, 4)}
                for phase, ns in self._window(window).labels.items()
            ],
        }

    def _chance(self, window: str) -> float:
        """A number of [0, 1) drawn by a window's name and the seed."""
        return int(digest([window, self._seed])[:12], 16) / 16.0**12

    def _shown(self, window: str) -> tuple[int, int]:
        """[start, end) ns of what is shown: the first label somewhere in its first half, the last
        one inside, if the window leaves room for it. The same whoever stands on the sides."""
        seen = self._window(window)
        first, stop = seen.span
        length = stop - first - SLACK_S * NS
        late = max(seen.labels.values()) + 2 * NS - (first + length)
        least = min(max(late, 0), SLACK_S * NS)
        rate = max(each.rate for each in seen.snippets)
        drawn = least + self._chance(window) * (SLACK_S * NS - least)
        start = first + round(drawn * rate / NS) * NS // rate
        return start, start + length

    def _window(self, window: str) -> TraceWindow:
        """With the curves of everybody who can run there."""
        if window not in self._kept:
            self._kept[window] = self._read(window)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return self._kept[window]

    def _read(self, window: str) -> TraceWindow:
        place = self._places[window]
        [trace] = place.labelled.read(place.piece)
        if not isinstance(trace, LabelledTrace):
            raise BadFormat(window, trace.detail)
        try:
            return trace_window(trace, list(self._candidates.values()))
        except NotRun as reason:
            raise BadFormat(window, str(reason)) from reason


def _judged(evaluation: Evaluation, names: Iterable[str]) -> pa.Table:
    """The per-trace table of these candidates, with `network`."""
    table = kept(Path(evaluation.out), "traces")
    if table is None:
        raise Refusal(f"{evaluation.out}: no per-trace table yet; run `tidepick eval oracle`")
    table = conformed(table.filter(pc.is_in(table["weight"], pa.array(list(names), pa.string()))))
    networks = [
        (station or "").partition(".")[0] or UNKNOWN for station in table["station"].to_pylist()
    ]
    if "network" in table.column_names:
        table = table.drop_columns(["network"])
    return table.append_column("network", pa.array(networks, pa.string()))


def _places(evaluation: Evaluation, wanted: set[str]) -> dict[str, _Place]:
    """Window -> where it lies, of the benchmarks whose samples can be read."""
    places = {}
    for benchmark in evaluation.benchmark:
        if benchmark.kind not in READERS:
            continue
        labelled = open_labelled(benchmark.kind, benchmark.path)
        for piece in labelled.pieces(PIECE):
            for k, about in enumerate(labelled.describe(piece), piece.start):
                name = "/".join((benchmark.name, about.chunk or "", about.trace_name))
                if name in wanted:
                    one = Piece(piece.chunk, k, k + 1)
                    places[name] = _Place(benchmark.name, about.trace_name, labelled, one)
    return places
