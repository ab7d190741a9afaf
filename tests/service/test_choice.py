"""Bands and locations by priority, day by day, held against the rule spelt out."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from catalog.schema import TraceId, days_between
from service.choice import Priority, choose
from service.held import Held
from workers.archives import Holding
from workers.epochs import Epochs

START = date(2020, 2, 25)
DAYS = 9
END = START + timedelta(days=DAYS)
BANDS, LOCATIONS = ("HH", "BH", "EH"), ("", "00", "10")

stations = st.sampled_from(["ONE", "TWO"])
traces = st.builds(
    TraceId, st.just("XX"), stations, st.sampled_from(LOCATIONS), st.sampled_from(BANDS)
)
days = st.sets(st.integers(0, DAYS - 1), min_size=1)
listings = st.dictionaries(traces, days, min_size=1, max_size=8)
spans = st.tuples(st.integers(-3, DAYS), st.integers(1, DAYS + 5))
metadata = st.none() | st.dictionaries(traces, st.lists(spans, min_size=1, max_size=3))
priorities = st.builds(
    Priority,
    st.permutations(BANDS).flatmap(lambda order: st.sampled_from([[], order[:2], order])),
    st.permutations(LOCATIONS).flatmap(lambda order: st.sampled_from([[], order[:2], order])),
)


def held_of(listing: dict[TraceId, set[int]]) -> Held:
    return Held(
        START,
        END,
        (
            Holding(trace, START + timedelta(days=day), 100)
            for trace, days in listing.items()
            for day in days
        ),
    )


def by_rule(
    listing: dict[TraceId, set[int]],
    priority: Priority,
    known: dict[TraceId, list[tuple[int, int]]] | None,
) -> set[tuple[TraceId, int]]:
    """For every station and day: the first choice that is held, else the most held one."""
    planned = set()
    for one in listing:
        rivals = [
            trace
            for trace in listing
            if (trace.network, trace.station) == (one.network, one.station)
            and (priority.bands or trace.band == one.band)
            and (priority.locations or trace.location == one.location)
            and (not priority.bands or trace.band in priority.bands)
            and (not priority.locations or trace.location in priority.locations)
        ]
        rivals.sort(
            key=lambda t: (
                priority.bands.index(t.band) if priority.bands else 0,
                priority.locations.index(t.location) if priority.locations else 0,
            )
        )
        for day in range(DAYS):
            may = [
                trace
                for trace in rivals
                if known is None
                or trace not in known
                or any(first <= day < first + length for first, length in known[trace])
            ]
            there = [trace for trace in may if day in listing[trace]]
            if may:
                most = max(may, key=lambda t: (len(listing[t]), -rivals.index(t)))
                planned.add((there[0] if there else most, day))
    return planned


@given(listings, priorities, metadata)
def test_every_day_has_the_choice_that_the_rule_names(
    listing: dict[TraceId, set[int]],
    priority: Priority,
    known: dict[TraceId, list[tuple[int, int]]] | None,
) -> None:
    epochs = None
    if known is not None:
        epochs = Epochs(
            (trace, (START + timedelta(days=first), START + timedelta(days=first + length)))
            for trace, found in known.items()
            for first, length in found
        )
    held = held_of(listing)
    chosen = list(choose(held, held.traces, priority, epochs))
    found = [(trace, day) for trace, mask in chosen for day in mask.nonzero()[0].tolist()]
    assert len(found) == len(set(found))
    assert set(found) == by_rule(listing, priority, known)
    for trace in held.traces:
        assert set(held.mask(trace).nonzero()[0].tolist()) == listing[trace]
        assert held.bytes(trace, 1) == 100


def test_a_station_that_changes_its_band_loses_no_day() -> None:
    """One band for all epochs cost QuakeScope 2.3 million station-days."""
    bh, hh = TraceId("CI", "GSC", "", "BH"), TraceId("CI", "GSC", "", "HH")
    listing = {bh: set(range(5)), hh: {5, 6, 8}}
    for bands in (["HH", "BH"], ["BH", "HH"]):
        held = held_of(listing)
        chosen = dict(choose(held, held.traces, Priority(bands), None))
        picked = {t: set(mask.nonzero()[0].tolist()) for t, mask in chosen.items()}
        assert picked == {bh: {0, 1, 2, 3, 4, 7}, hh: {5, 6, 8}}, "day 7: the most held, no data"
        total = sum(len(days) for days in picked.values())
        assert total == DAYS == len(list(days_between(START, END)))
