"""On simulated days with planted truth every estimate covers the truth at its stated rate.

Stations hear well or badly and make many or few extras, events are large or small: rows err
together. The truth of each figure is that of the same world with a thousand times the data.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from catalog.truth import ARRIVAL_SCHEMA
from eval.calibration import calibration
from eval.noise import rates
from eval.reviewed import judged_picks, score

UTC_NS = pa.timestamp("ns", tz="UTC")
T0 = 1_700_000_000_000_000_000
HOURS_AN_EVENT = 0.4
APART_S = 100.0


def world(stations, events, rng):
    """Picks, arrivals and noise of `stations` that all saw `events`, all P.

    A pick is right with probability (roughly) its own plus 0.1, so that Brier's score is not 0.
    """
    hears = rng.normal(0.8, 0.6, stations)
    hours = HOURS_AN_EVENT * events
    errs = hours * rng.gamma(3.0, 1 / 3, stations)
    size = rng.normal(0.0, 0.6, events)
    chance = 1 / (1 + np.exp(-(hears[:, None] + size[None, :])))
    found = rng.random((stations, events)) < chance
    late = rng.normal(0.0, 0.1, (stations, events))
    at = APART_S * (1 + np.arange(events))
    s, e = np.nonzero(np.ones_like(found))
    names = np.array([f"S{k}" for k in range(stations)])
    arrivals = table(names[s], at[e], ARRIVAL_SCHEMA, event=pa.array(e.astype(str)))
    s, e = np.nonzero(found)
    extra = rng.poisson(errs)
    of_extra = np.repeat(np.arange(stations), extra)
    elsewhere = APART_S * (events + 2) + rng.uniform(0, 3600 * hours, extra.sum())
    n = len(s) + len(of_extra)
    right = np.arange(n) < len(s)
    probability = np.where(right, rng.beta(5, 2, n), rng.beta(2, 4, n))
    picks = table(
        names[np.concatenate([s, of_extra])],
        np.concatenate([at[e] + late[s, e], elsewhere]),
        None,
        candidate=pa.repeat("one", n),
        offset_ns=pa.repeat(0, n).cast(pa.int32()),
        probability=pa.array(probability, pa.float32()),
        saddle=pa.array(np.zeros(n), pa.float32()),
    )
    start = T0 + round(APART_S * (events + 2) * 1e9)
    noise = pa.table(
        {
            "network": pa.repeat("XX", stations),
            "station": names,
            "location": pa.repeat("", stations),
            "start": pa.array([start] * stations, UTC_NS),
            "end": pa.array([start + round(hours * 3600e9)] * stations, UTC_NS),
        }
    )
    return picks, arrivals, noise


def table(stations, seconds, schema, **more):
    n = len(stations)
    columns = {
        "network": pa.repeat("XX", n),
        "station": pa.array(stations.tolist()),
        "location": pa.repeat("", n),
        "phase": pa.repeat("P", n),
        "time": pa.array(T0 + np.rint(seconds * 1e9).astype(np.int64), UTC_NS),
    } | more
    made = pa.table(columns)
    return made if schema is None else made.select(schema.names).cast(schema)


def estimates(picks, arrivals, noise):
    """metric -> (value, low, high)."""
    scores = score(picks, arrivals, (0.5,), ("all",), seed=0)
    brier = calibration(judged_picks(picks, arrivals), seed=0)
    brier = brier.filter(pc.equal(brier["metric"], "brier"))
    rate = rates(picks, noise, (0.05,), seed=0)
    rate = rate.append_column("metric", pa.repeat("false_per_hour", rate.num_rows))
    rows = [row for t in (scores, brier, rate) for row in t.to_pylist() if row["phase"] == "P"]
    return {row["metric"]: (row["value"], row["low"], row["high"]) for row in rows}


def covered(simulations):
    truth = {
        name: value for name, (value, _, _) in estimates(*world(2000, 500, rng_of(-1))).items()
    }
    held = dict.fromkeys(truth, 0)
    for k in range(simulations):
        for name, (_, low, high) in estimates(*world(25, 60, rng_of(k))).items():
            held[name] += low <= truth[name] <= high
    return {name: count / simulations for name, count in held.items()}


def rng_of(k):
    return np.random.default_rng(k + 100)


@pytest.mark.slow
def test_every_estimate_of_the_days_covers_the_truth_at_its_rate():
    shares = covered(300)
    assert set(shares) == {
        "recall_0.5s",
        "precision_lower_0.5s",
        "f1_lower_0.5s",
        "mae_0.5s",
        "brier",
        "false_per_hour",
    }
    assert min(shares.values()) >= 0.92 and max(shares.values()) <= 0.99, shares
