"""Windows are called alike whoever judges them, and stay where they are whatever else is judged."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.schema import TraceId
from catalog.truth import ARRIVAL_SCHEMA
from eval.arena.proposals import propose
from eval.arena.windows import Stretch, stretch_of, traces_called
from eval.traces import conformed
from tests.eval.arena.test_proposals import LENGTH, days_of, picks_of, proposed

CODE = st.text("ABZ019_-", min_size=1, max_size=5)


@given(CODE, CODE, CODE | st.just(""), CODE, st.integers(0, 2**62), st.integers(1, 600))
def test_a_name_says_which_stretch_it_is(network, station, location, band, start, seconds):
    trace = TraceId(network, station, location, band)
    stretch = Stretch(trace, start, start + seconds * 10**9)
    assert stretch_of(stretch.name) == stretch


@pytest.mark.parametrize(
    "name",
    ["ncedc//BG_BRP_2012", "w0", "UW.SHW..EH/2022-02-30T00:00:00.000000000Z/PT60S", "d/c/PT60S"],
)
def test_what_is_no_stretch_is_none(name):
    assert stretch_of(name) is None


def test_a_trace_is_called_by_dataset_chunk_and_name():
    rows: list[dict[str, Any]] = [
        {"dataset": "d", "chunk": "a", "trace_name": "t"},
        {"dataset": "d", "chunk": None, "trace_name": "t"},
    ]
    unread: dict[str, Any] = {"p_in_window": -1, "s_in_window": -1, "p_prob": None, "s_prob": None}
    unread |= {"p_residual_s": None, "s_residual_s": None, "weight": "w"}
    table = conformed(pa.Table.from_pylist([{**row, **unread} for row in rows]))
    assert traces_called(table).to_pylist() == ["d/a/t", "d//t"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 86_399.9), min_size=1, max_size=40), st.integers(0, 3))
def test_windows_of_a_day_do_not_rest_on_other_days(seconds, seed):
    picks = picks_of([("a", "P", s, 10.0) for s in seconds])
    alone = proposed([("a", "P", s, 10.0) for s in seconds], seed=seed).windows
    days = pa.concat_tables([days_of(["a", "b"], days=4), _at("Z")])
    both = pa.concat_tables([_moved(picks), picks])
    among = propose(both, days, ARRIVAL_SCHEMA.empty_table(), LENGTH, 10_000, seed).windows
    own = [n for n in among["window"].to_pylist() if n.startswith("XX.A.")]
    assert own == alone["window"].to_pylist()


def _at(station):
    days = days_of(["a", "b"])
    return days.set_column(1, "station", pa.array([station]))


def _moved(picks):
    at = picks.column_names.index("station")
    return picks.set_column(at, "station", pa.array(["Z"] * picks.num_rows))
