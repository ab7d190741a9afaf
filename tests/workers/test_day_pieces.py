"""What the identity of a piece of a station-day is made of, and what it is not."""

from dataclasses import replace
from datetime import date

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from catalog.schema import DAY_NS, StationDay, TraceId
from catalog.store import S3Options
from workers.archives import ArchiveConfig
from workers.day_pieces import ArrivalDay, NoiseDay, PickedDay, ShiftDay
from workers.examiner import Examination, Examiner
from workers.noise_windows import NoiseRule
from workers.picker import StoredCandidate
from workers.synthetic import network_days, write_sds
from workers.waveform import NS

DAY = StationDay(TraceId("XX", "A", "", "HH"), date(2024, 3, 1))
PICKED = PickedDay(DAY, ArchiveConfig(kind="sds", root="/data"), "strict", "run.0")
RULE = NoiseRule()
ANEW = [
    replace(PICKED, version="run.1"),
    replace(PICKED, quality="seisbench"),
    replace(PICKED, archive=ArchiveConfig(kind="sds", root="/other")),
    replace(PICKED, day=StationDay(DAY.trace, date(2024, 3, 2))),
]
SPAN = st.tuples(st.integers(-DAY_NS, 2 * DAY_NS), st.integers(1, DAY_NS)).map(
    lambda each: (DAY.start_ns + each[0], DAY.start_ns + each[0] + each[1])
)


def candidate(name, weights, **more):
    return StoredCandidate(name, weights, (), {"engine": "fast", "floors": {"P": 0.1}} | more)


@given(st.lists(SPAN, max_size=6), SPAN)
def test_waves_of_other_days_and_their_order_change_no_piece(spans, one):
    def piece(rows):
        return NoiseDay.of(PICKED, np.array(rows, np.int64).reshape(-1, 2), RULE, 0)

    inside = [s for s in spans if s[0] < DAY.end_ns and s[1] > DAY.start_ns]
    assert piece(spans).keys == piece(inside[::-1]).keys
    here = one not in spans and one[0] < DAY.end_ns and one[1] > DAY.start_ns
    assert (piece([*spans, one]).keys != piece(spans).keys) == here


def test_a_piece_is_another_where_what_is_asked_or_read_is_another():
    nothing, times = np.zeros((0, 2), np.int64), np.array([DAY.start_ns + 5, DAY.start_ns + 2])
    arrivals = [("P", DAY.start_ns + 5), ("S", DAY.start_ns + 9)]
    one = [candidate("a", "1")]
    keys = [
        *NoiseDay.of(PICKED, nothing, RULE, 0).keys.values(),
        *NoiseDay.of(PICKED, nothing, RULE, 1).keys.values(),
        *NoiseDay.of(PICKED, nothing, NoiseRule(per_hour=7), 0).keys.values(),
        *ArrivalDay.of(PICKED, times).keys.values(),
        *ArrivalDay.of(PICKED, times[:1]).keys.values(),
        *ShiftDay.of(PICKED, arrivals, 4, one).keys.values(),
        *ShiftDay.of(PICKED, arrivals, 5, one).keys.values(),
        *ShiftDay.of(PICKED, arrivals[:1], 4, one).keys.values(),
        *ShiftDay.of(PICKED, arrivals, 4, [candidate("a", "2")]).keys.values(),
        *ShiftDay.of(PICKED, arrivals, 4, [candidate("a", "1", blinding=[0, 0])]).keys.values(),
    ]
    for anew in ANEW:
        keys += NoiseDay.of(anew, nothing, RULE, 0).keys.values()
        keys += ArrivalDay.of(anew, times).keys.values()
        keys += ShiftDay.of(anew, arrivals, 4, one).keys.values()
    assert len(keys) == len(set(keys)) == 10 + 3 * len(ANEW)


def test_names_of_candidates_others_and_the_order_of_arrivals_do_not_count():
    times = np.array([DAY.start_ns + 5, DAY.start_ns + 2, DAY.start_ns + 5])
    assert ArrivalDay.of(PICKED, times).keys == ArrivalDay.of(PICKED, times[::-1]).keys
    arrivals = [("P", 5), ("S", 9)]
    alone = ShiftDay.of(PICKED, arrivals, 4, [candidate("a", "1")]).keys["a"]
    both = ShiftDay.of(PICKED, arrivals[::-1], 4, [candidate("z", "2"), candidate("b", "1")]).keys
    assert both["b"] == alone != both["z"]


def test_an_arrival_after_the_last_sample_of_its_day_is_looked_at_there(tmp_path):
    last = DAY.end_ns - 10_000_000
    rng = np.random.default_rng(0)
    write_sds(tmp_path, network_days([DAY.trace], DAY.end_ns - 60 * NS, 60.0, 0.0, rng))
    picked = replace(PICKED, archive=ArchiveConfig(kind="sds", root=str(tmp_path)))
    times = np.array([DAY.end_ns - 90 * NS, last, last + 6_000_000, DAY.end_ns - 1])
    examiner = Examiner(Examination(str(tmp_path / "tables"), S3Options()))
    seen = ArrivalDay.of(picked, times).tables(examiner)[""]
    assert seen["recorded"].to_pylist() == [False, True, True, True]
    assert seen["time"].cast("int64").to_pylist() == times.tolist()
