"""Campaigns are read back as they were written; shards cover what is wanted, each part once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from catalog.commits import Commit
from catalog.ledger import resolve, tabulate
from catalog.schema import Flag, Outcome, Shard, StationDay, TraceId, days_between, month_of
from service.campaign import Campaign, load_campaign
from service.days import PlannedDays, spans_of
from service.jobs import to_toml
from service.outstanding import cover, works
from service.patterns import select_traces
from service.plan import Plan, shard_size
from service.prepare import candidate_record, candidate_weights
from service.rectangles import rectangles
from tests.coverage import covered
from workers.picker import StoredCandidate, Work

TRACES = [TraceId("XX", f"S{k:02d}", loc, "HH") for k in range(6) for loc in ("", "00")]
FIRST = date(2023, 12, 1)

# TOML's strings: any character but surrogates; control characters, quotes and emoji included.
text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
ENDPOINTS = ("http://127.0.0.1:9000", "https://s3.example.org", "http://store:9000/")
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
days = st.integers(0, 100).map(lambda n: FIRST + timedelta(days=n))
ranges = st.tuples(days, days).filter(lambda pair: pair[0] < pair[1])
floors = st.floats(0, 1, exclude_min=True, exclude_max=True, allow_subnormal=False)
weights = text.map(lambda path: f"/weights/{path}")
candidates: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    name=names,
    weights=weights | st.lists(weights, min_size=1, max_size=3),
    P_threshold=floors,
    stacking=st.sampled_from(["avg", "max", None]),
    blinding=st.sampled_from([None, (0, 0), (250, 1250)]),
)


@st.composite
def campaigns(draw: st.DrawFn) -> Campaign:
    start, end = draw(ranges)
    kind = draw(st.sampled_from(["sds", "files", "zarr", "scedc", "earthscope"]))
    on_s3, anonymous = draw(st.booleans()), draw(st.booleans())
    of_s3 = {
        "anonymous": anonymous,
        "region": draw(st.none() | text),
        "profile": None if anonymous else draw(st.none() | text),
    }
    price = draw(st.none() | st.floats(0, 1e9))
    return Campaign.model_validate(
        {
            "name": draw(text),
            "catalog": f"/catalog/{draw(text)}",
            "catalog_endpoint_url": draw(st.none() | st.sampled_from(ENDPOINTS)),
            "archive": {
                "kind": kind,
                "root": f"{'s3://archive' * on_s3}/{draw(text)}",
                **({"pattern": draw(text)} if kind == "files" else {}),
                **(of_s3 if on_s3 else {}),
            },
            "select": {
                "stations": draw(st.lists(text, max_size=4)),
                "start": start,
                "end": end,
                "epochs": draw(st.none() | text.map(lambda path: f"/epochs/{path}")),
                "bands": draw(st.lists(st.sampled_from(["HH", "BH", "EH"]), unique=True)),
                "locations": draw(st.lists(st.sampled_from(["", "00", "10"]), unique=True)),
            },
            "candidate": draw(
                st.lists(candidates, min_size=1, max_size=3, unique_by=lambda c: c["name"])
            ),
            "quality": draw(st.sampled_from(["strict", "seisbench"])),
            "compute": {
                "workers": draw(st.integers(1, 10_000)),
                "gpus_per_worker": draw(st.floats(0, 8)),
                "price_per_hour": price,
                "max_hours": draw(st.none() | st.floats(1e-9, 1e9)),
                "max_cost": draw(st.none() | st.floats(1e-9, 1e9)) if price else None,
            },
        }
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(campaigns())
def test_a_campaign_is_read_back_as_it_was_written(tmp_path: Path, campaign: Campaign) -> None:
    path = tmp_path / "campaign.toml"
    path.write_text(to_toml(campaign), encoding="utf-8", newline="")
    assert load_campaign(path) == campaign


@pytest.mark.parametrize("name", ['"quoted"', "back\\slash", "a\nb\r\nc\td", "\x7f\x00", "🌊ü"])
def test_a_string_is_read_back(tmp_path: Path, name: str) -> None:
    campaign = Campaign.model_validate(
        {
            "name": name,
            "catalog": f"/{name}",
            "archive": {"kind": "files", "root": "/a", "pattern": name},
            "select": {"stations": [name], "start": FIRST, "end": FIRST + timedelta(days=1)},
            "candidate": [{"name": "c", "weights": f"/{name}"}],
        }
    )
    path = tmp_path / "campaign.toml"
    path.write_text(to_toml(campaign), encoding="utf-8", newline="")
    assert load_campaign(path) == campaign


def parts(shards: Sequence[Shard]) -> Counter[StationDay]:
    return Counter(day for shard in shards for day in shard.station_days)


def some_days(traces: int, days: int, seed: int) -> NDArray[np.bool_]:
    """bool [trace, day]: stretches of days, none empty of them."""
    rng = np.random.default_rng(seed)
    mask = np.repeat(rng.random((traces, -(-days // 5))) < rng.choice([0.1, 0.5, 0.9]), 5, axis=1)
    mask = mask[:, :days] ^ (rng.random((traces, days)) < 0.05)
    mask[np.arange(traces), rng.integers(days, size=traces)] = True
    return mask


def plan_of(
    traces: list[TraceId], span: tuple[date, date], largest: int, seed: int | None = None
) -> Plan:
    """Of every day, or of some."""
    size = shard_size(len(traces), *span, largest)
    if seed is None:
        return Plan(traces, *span, size)
    mask = some_days(len(traces), (span[1] - span[0]).days, seed)
    return Plan(traces, *span, size, days=PlannedDays.of([spans_of(own[None]) for own in mask]))


seeds = st.none() | st.integers(0, 999)


NAMES = ("a", "b")
STORED = [StoredCandidate(name, f"sha-{name}", (), {}) for name in NAMES]
trace_sets = st.sets(st.sampled_from(TRACES), min_size=1).map(sorted)


@given(trace_sets, ranges, st.integers(1, 40), seeds)
def test_shards_hold_every_station_day_once(
    traces: list[TraceId], span: tuple[date, date], largest: int, seed: int | None
) -> None:
    start, end = span
    plan = plan_of(traces, span, largest, seed)
    shards = list(plan.shards())
    assert len(shards) == plan.shard_count
    days = list(days_between(start, end))
    mask = np.ones((len(traces), len(days)), bool)
    if seed is not None:
        mask = some_days(*mask.shape, seed)
    wanted = [StationDay(traces[t], days[d]) for t, d in np.argwhere(mask)]
    assert plan.station_days == len(wanted)
    whole = np.concatenate([plan.planned(month) for month in plan.months()], axis=1)
    np.testing.assert_array_equal(whole, mask)
    kept = plan.to_json(STORED).get("days", [[0, len(days)]] * len(traces))
    for own, spans in zip(mask, kept, strict=True):
        assert np.flatnonzero(own).tolist() == [
            day for a, b in zip(spans[::2], spans[1::2], strict=True) for day in range(a, b)
        ]
    assert parts(shards) == Counter(wanted)
    assert all(len(shard.station_days) <= largest for shard in shards)
    months = [{(day.year, day.month) for day in shard.days} for shard in shards]
    assert all(len(month) == 1 for month in months)


@given(trace_sets, ranges, st.integers(1, 40), st.integers(1, 12))
def test_shards_do_not_depend_on_the_order_of_the_listing(
    traces: list[TraceId], span: tuple[date, date], largest: int, turn: int
) -> None:
    """What is cut is a function of campaign and holdings: select_traces sorts."""
    turned = [*traces[turn:], *traces[:turn], *traces]
    again = plan_of(select_traces(turned, ["XX.*"]), span, largest)
    assert again == plan_of(traces, span, largest)


masks = st.integers(1, 6).flatmap(
    lambda k: st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=k, max_size=k)
)


@given(masks)
def test_rectangles_hold_their_station_days_once(chosen: list[list[bool]]) -> None:
    shard = Shard(tuple(sorted(TRACES)[: len(chosen)]), FIRST, FIRST + timedelta(days=5))
    wanted = [
        StationDay(trace, day)
        for trace, own in zip(shard.traces, chosen, strict=True)
        for day, there in zip(shard.days, own, strict=True)
        if there
    ]
    found = rectangles(shard, np.array(chosen))
    assert parts(found) == Counter(wanted)
    if all(map(all, chosen)):
        assert found == [shard]


SHAS = {candidate.name: candidate.weights_sha256 for candidate in STORED}


def committed(work: Work, outcome: Outcome = Outcome.PICKED, flags: int = 0) -> list[Commit]:
    """What a worker would commit of a work, with one outcome and the same flags throughout."""
    stored = {candidate.name: candidate for candidate in STORED}
    return [
        Commit(
            shard=stored[name].shard_id(work.shard),
            generation=work.generation,
            candidate=name,
            weights_sha256=SHAS[name],
            run="run",
            attempt="attempt",
            files=[],
            inputs={},
            coverage=[covered(day, outcome, flags=flags) for day in work.shard.station_days],
            created="",
        )
        for name in work.candidates
    ]


def outstanding(
    plan: Plan,
    candidates: Sequence[StoredCandidate],
    commits: Sequence[Commit],
    retry: frozenset[Outcome] = frozenset(),
) -> list[Work]:
    """As service.outstanding has it of a store, of commits in any order."""
    found: list[Work] = []
    for month in plan.months():
        of_month = [c for c in commits if c.shard.startswith(month_of(month[0]))]
        covered = cover(plan, candidates, month, resolve(tabulate(of_month)))
        stands = np.count_nonzero(covered.generation >= 0)
        due = covered.due(frozenset())
        cells = len(candidates) * np.count_nonzero(covered.planned)
        assert stands + np.count_nonzero(due >= 0) == cells, "what is not planned is not counted"
        due = covered.due(retry)
        found += works(plan, candidates, month, due)
    return found


def by_definition(
    plan: Plan, commits: Sequence[Commit], retry: frozenset[Outcome]
) -> Counter[tuple[str, StationDay, int]]:
    """Candidate, station-day and generation of all that is to be picked, row by row."""
    standing: dict[tuple[str, StationDay], tuple[int, str, int]] = {}
    for record in sorted(commits, key=lambda c: (-c.generation, c.key)):
        for row in record.coverage:
            trace = TraceId(row["network"], row["station"], row["location"], row["band"])
            day = StationDay(trace, date.fromisoformat(row["day"]))
            stands = record.generation, row["outcome"], row["flags"]
            standing.setdefault((record.candidate, day), stands)
    wanted: Counter[tuple[str, StationDay, int]] = Counter()
    for shard in plan.shards():
        for name in NAMES:
            for day in shard.station_days:
                generation, outcome, flags = standing.get((name, day), (-1, None, 0))
                beside = any(
                    flags & bits and lacking in retry
                    for lacking, bits in (
                        (Outcome.ACCESS_DENIED, Flag.HALO_REFUSED),
                        (Outcome.BAD_FORMAT, Flag.INCOMPLETE | Flag.BREAKS_OFF),
                        (Outcome.NO_DATA, Flag.BREAKS_OFF),
                    )
                )
                if outcome is None or outcome in retry or beside:
                    wanted[name, day, generation + 1] += 1
    return wanted


def handed_out(works: Sequence[Work]) -> Counter[tuple[str, StationDay]]:
    return Counter(
        (name, day) for work in works for name in work.candidates for day in work.shard.station_days
    )


campaign_of = st.tuples(trace_sets, ranges, st.integers(1, 40), seeds)
outcomes = st.sampled_from(
    [
        *(Outcome.PICKED, Outcome.NO_DATA, Outcome.FAILED),
        *(Outcome.ACCESS_DENIED, Outcome.BAD_FORMAT),
    ]
)
REFUSED = Flag.HALO_LOST | Flag.HALO_REFUSED
flags_of = st.sampled_from(
    [
        *(0, Flag.HALO_LOST, REFUSED, REFUSED | Flag.SALVAGED),
        *(Flag.HALO_LOST | Flag.INCOMPLETE, Flag.BREAKS_OFF),
    ]
)


shards = st.builds(
    lambda traces, first, length: Shard(tuple(traces), first, first + timedelta(days=length)),
    st.sets(st.sampled_from(TRACES[:3]), min_size=1).map(sorted),
    st.sampled_from([FIRST, FIRST + timedelta(days=2), date(2024, 1, 1)]),
    st.integers(1, 4),
)
names_of = st.sampled_from([("a",), ("b",), NAMES])
done = st.tuples(st.builds(Work, shards, names_of, st.integers(0, 1)), outcomes, flags_of)
close_by = st.tuples(
    st.sampled_from([TRACES[:1], TRACES[1:4]]),
    st.sampled_from([(FIRST, FIRST + timedelta(days=4)), (date(2023, 12, 3), date(2024, 1, 4))]),
    st.integers(1, 5),
    seeds,
)


@settings(deadline=None)
@given(close_by, st.lists(done, max_size=8), st.frozensets(outcomes, min_size=1))
def test_what_is_outstanding_is_what_its_definition_says(
    campaign: tuple[list[TraceId], tuple[date, date], int, int | None],
    before: list[tuple[Work, Outcome, int]],
    retry: frozenset[Outcome],
) -> None:
    """Whatever plans have left: the highest generation counts, then the smallest key."""
    commits = [record for one in before for record in committed(*one)]
    commits = list({record.key: record for record in commits}.values())
    plan = plan_of(*campaign)
    found = outstanding(plan, STORED, commits, retry)
    assert by_definition(plan, commits, retry) == Counter(
        (name, day, work.generation)
        for work in found
        for name in work.candidates
        for day in work.shard.station_days
    )
    assert len({(work.shard, work.generation) for work in found}) == len(found)


def test_to_retry_what_was_refused_is_to_pick_the_days_beside_it_again() -> None:
    """But not those beside damaged records: asking again brings nothing."""
    refused, beside, damaged, well = (FIRST + timedelta(days=k) for k in range(4))
    plan = Plan(TRACES[:1], FIRST, FIRST + timedelta(days=4), shard_size(1, FIRST, well, 1))
    commits = [
        record
        for day, outcome, flags in (
            (refused, Outcome.ACCESS_DENIED, 0),
            (beside, Outcome.PICKED, REFUSED | Flag.FILLED),
            (damaged, Outcome.PICKED, Flag.HALO_LOST),
            (well, Outcome.PICKED, Flag.FILLED | Flag.SALVAGED),
        )
        for record in committed(
            Work(Shard(tuple(TRACES[:1]), day, day + timedelta(days=1)), NAMES), outcome, flags
        )
    ]

    def again(*outcomes: Outcome) -> set[date]:
        found = outstanding(plan, STORED, commits, frozenset(outcomes))
        assert all(work.candidates == NAMES and work.generation == 1 for work in found)
        return {day.day for work in found for day in work.shard.station_days}

    assert again(Outcome.ACCESS_DENIED) == {refused, beside}
    assert again(Outcome.FAILED, Outcome.NO_DATA) == set()
    assert again(Outcome.PICKED) == {beside, damaged, well}


@settings(deadline=None)
@given(campaign_of, campaign_of, st.sets(st.sampled_from(NAMES), min_size=1), st.data())
def test_what_is_outstanding_is_the_rest(
    earlier: tuple[list[TraceId], tuple[date, date], int, int | None],
    later: tuple[list[TraceId], tuple[date, date], int, int | None],
    names: set[str],
    data: st.DataObject,
) -> None:
    """After some of another campaign has been committed to the same catalogue, in any order."""
    before = plan_of(*earlier)
    picked = [candidate for candidate in STORED if candidate.name in names]
    works = outstanding(before, picked, [])
    chosen = data.draw(st.sets(st.integers(0, len(works) - 1)))
    commits = [record for k in chosen for record in committed(works[k])]
    done = handed_out([works[k] for k in chosen])
    assert max(done.values(), default=1) == 1

    plan = plan_of(*later)
    wanted = {(c.name, day) for c in STORED for part in plan.shards() for day in part.station_days}
    rest = outstanding(plan, STORED, commits)
    assert handed_out(rest) == Counter(wanted - done.keys())
    assert all(len(work.shard.station_days) <= later[2] for work in rest)
    assert outstanding(plan, STORED, [*commits, *(c for w in rest for c in committed(w))]) == []


@settings(deadline=None)
@given(campaign_of, st.data())
def test_a_retry_takes_up_its_outcome_alone_and_once(
    campaign: tuple[list[TraceId], tuple[date, date], int, int | None], data: st.DataObject
) -> None:
    plan = plan_of(*campaign)
    works = outstanding(plan, STORED, [])
    lost = data.draw(st.sets(st.integers(0, len(works) - 1)))
    commits = [
        record
        for k, work in enumerate(works)
        for record in committed(work, Outcome.FAILED if k in lost else Outcome.PICKED)
    ]
    failed = frozenset({Outcome.FAILED})
    again = outstanding(plan, STORED, commits, failed)
    assert handed_out(again) == handed_out([works[k] for k in lost])
    assert {work.generation for work in again} <= {1}
    assert outstanding(plan, STORED, commits) == []

    commits += [record for work in again for record in committed(work)]
    assert outstanding(plan, STORED, commits, failed) == []


def test_quality_is_part_of_what_a_candidate_is() -> None:
    """Picks of one quality never stand for those of the other; nothing said is strict."""
    identities = []
    qualities: list[dict[str, str]] = [{}, {"quality": "strict"}, {"quality": "seisbench"}]
    for quality in qualities:
        campaign = Campaign.model_validate(
            {
                "name": "q",
                "catalog": "/catalog",
                "archive": {"kind": "sds", "root": "/archive"},
                "select": {"stations": ["XX.*"], "start": FIRST, "end": FIRST + timedelta(days=1)},
                "candidate": [{"name": "c", "weights": "builtin:synthetic"}],
                **quality,
            }
        )
        (config,) = campaign.candidate
        record = candidate_record(campaign, config, candidate_weights(config))
        assert record.settings["quality"] == quality.get("quality", "strict")
        identities.append(record.identity)
    assert identities[0] == identities[1] != identities[2]
    with pytest.raises(ValidationError, match="quality"):
        Campaign.model_validate({**campaign.model_dump(), "quality": "lenient"})
