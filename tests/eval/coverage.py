"""How often the 95 % interval of each figure holds the truth, on planted worlds.

    python -m tests.eval.coverage --stations 12 --events 30 --worlds 2000

A world has stations that hear well or badly, time well or badly and make many or few extras, and
events that are large or small, clear or emergent: rows err together. The truth of each figure is
that of the same law where every row has a station and an event of its own, a million of them.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import expit

from catalog.schema import ARRIVAL_SCHEMA, TRACE_SCHEMA
from eval import metrics, oracle
from eval.audit import audited, draw
from eval.calibration import calibration
from eval.comparison import compare, compare_rates, found_in
from eval.intervals import Clusters, rate
from eval.muenchmeyer import DECISION_SCHEMA, detection
from eval.noise import rates
from eval.reviewed import extras, judged_picks, score

UTC_NS = pa.timestamp("ns", tz="UTC")
T0 = 1_700_000_000_000_000_000
APART_S = 100.0
EXTRAS = 0.5  # an arrival, of the station of average noise
HOURS = 0.4  # of noise, an arrival
TOLERANCE_S = 0.5
THRESHOLD = 0.3
NOISE_THRESHOLD = 0.2


def effects(stations, events, rng):
    """(hearing, timing, noise [stations]; size, clarity [events]), noise of mean 1."""
    own = rng.normal(0.0, [[0.6], [0.25]], (2, stations))
    shared = rng.normal(0.0, [[0.6], [0.25]], (2, events))
    return *own, rng.gamma(3.0, 1 / 3, stations), *shared


def arrivals_of(hearing, timing, noise, size, clarity, rng):
    """What became of each arrival [n], its station and event given row by row."""
    n = len(hearing)

    def residual(blur):
        near = 0.1 * np.exp(timing + clarity) * rng.normal(size=n)
        far = rng.random(n) < blur
        return np.where(far, rng.uniform(-5.0, 5.0, n), near)

    def probability(found):
        low, high = rng.uniform(0.0, THRESHOLD, n), rng.uniform(THRESHOLD, 1.0, n)
        return np.where(found, np.maximum(high, rng.uniform(0.0, expit(1 + hearing))), low)

    eased = 1.0 + hearing + size
    found = rng.random(n) < expit(eased)
    other = np.where(rng.random(n) < 0.7, found, rng.random(n) < expit(eased - 0.3))
    return {
        "found": found,
        "residual": residual(0.04),
        "probability": probability(found),
        "old_found": other,
        "old_residual": residual(0.06),
        "old_probability": probability(other),
        "first": rng.random(n) < expit(2 + hearing),
        "false_alarm": rng.random(n) < expit(np.log(noise) - 2),
    }


def extras_of(noise, rng):
    """(row, probability, real) of the extras that rows [n] of this station noise make."""
    row = np.repeat(np.arange(len(noise)), rng.poisson(EXTRAS * noise))
    probability = rng.beta(2.0, 4.0, len(row)) ** (1 / (0.7 + 0.3 * noise[row]))
    return row, probability, rng.random(len(row)) < 0.6 * probability


def truth(rows=1_000_000):
    """figure -> value, by plain formulas over rows that are independent."""
    rng = np.random.default_rng(0)
    hearing, timing, noise, size, clarity = effects(rows, rows, rng)
    a = arrivals_of(hearing, timing, noise, size, clarity, rng)
    _, extra, _ = extras_of(noise, rng)
    found, r, old = a["found"], np.abs(a["residual"]), a["old_found"]
    matched = found & (r <= TOLERANCE_S)
    picks = found.sum() + len(extra)
    p = np.concatenate([a["probability"][found], extra]).astype(np.float32)
    right = np.concatenate([matched[found], np.zeros(len(extra), bool)])
    both = found & old
    tp, fn = found.mean(), 1 - found.mean()
    fp, tn = a["false_alarm"].mean(), 1 - a["false_alarm"].mean()
    old_r = np.abs(a["old_residual"])
    alarms = (extra >= NOISE_THRESHOLD).sum() / (HOURS * rows)
    return {
        "recall_0.5s": matched.mean(),
        "recall_0.1s": (found & (r <= 0.1)).mean(),
        "precision_lower_0.5s": matched.sum() / picks,
        "f1_lower_0.5s": 2 * matched.sum() / (picks + rows),
        "mae_0.5s": r[matched].mean(),
        "brier": np.square(p - right).mean(),
        "false_per_hour": alarms,
        "false_per_hour_poisson": 1.0,
        "recall_t0.30": found.mean(),
        "recall_1.0s_t0.30": (found & (r <= 1.0)).mean(),
        "mae_cond_t0.30": r[found].mean(),
        "rmse_cond_t0.30": math.sqrt(np.square(r[found]).mean()),
        "mae_uncond_w5s": r.mean(),
        "rmse_uncond_w5s": math.sqrt(np.square(r).mean()),
        "out_gt1.0s_cond": (r[found] > 1.0).mean(),
        "out_gt1.0s_uncond_w5s": (r > 1.0).mean(),
        "prob_median": float(np.median(a["probability"])),
        "mcc_phase_id": 2 * a["first"].mean() - 1,
        "mcc_detection": (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tn + fn)),
        "f1_detection": 2 * tp / (2 * tp + fp + fn),
        "precision_detection": tp / (tp + fp),
        "difference recall": found.mean() - old.mean(),
        "difference recall_1.0s": (found & (r <= 1)).mean() - (old & (old_r <= 1)).mean(),
        "difference mae_both_found": r[both].mean() - old_r[both].mean(),
        "difference out_gt1.0s_both_found": (r[both] > 1).mean() - (old_r[both] > 1).mean(),
        "difference false_picks_per_hour": -0.5 * EXTRAS / HOURS,
    }


def intervals(stations, events, rng, recorded=1.0):
    """(clustered, independent): figure -> (low, high), NaN where there is no interval.

    recorded: share of the events that a station sees. The audit's truth is that of the extras at
    hand, so its interval is given as what is left when the truth is taken off.
    """
    hearing, timing, noise, size, clarity = effects(stations, events, rng)
    seen = rng.random((stations, events)) < recorded
    s, e = np.nonzero(seen)
    a = arrivals_of(hearing[s], timing[s], noise[s], size[e], clarity[e], rng)
    row, extra, real = extras_of(noise[s], rng)
    names = np.array([f"S{k}" for k in range(stations)])
    picks, arrivals, windows = days(names, s, e, a, row, extra, seen.sum(axis=1))
    picks = picks.append_column("real", pa.array(np.append(np.ones(a["found"].sum(), bool), real)))
    figures: dict[str, tuple[float, float]] = {}
    named(figures, score(picks, arrivals, (TOLERANCE_S, 0.1), ("all",), seed=0), "metric")
    judged = judged_picks(picks, arrivals)
    named(figures, calibration(judged, seed=0), "metric")
    false = extras(picks, arrivals).filter(pc.field("elsewhere"))
    of_noise = rates(false, windows, (NOISE_THRESHOLD,), seed=0)
    named(figures, of_noise.append_column("metric", pa.repeat("false_per_hour", 2)), "metric")
    traces = pa.concat_tables(traces_of(names, s, e, a, w) for w in ("new", "old"))
    new = traces.filter(pc.field("weight") == "new")
    named(figures, oracle.score(new, THRESHOLD, ("all",), seed=0, recall_thresholds=()), "metric")
    compared = compare(found_in(traces, THRESHOLD), "old", seed=0)
    named(figures, compared, "measure", "difference ")
    tasks = detection(decisions_of(names, s, e, a), seed=0)
    named(figures, tasks.set_column(2, "phase", pa.repeat("P", tasks.num_rows)), "metric")
    hours = HOURS * seen.sum(axis=1)
    fewer = rng.poisson(0.5 * EXTRAS * seen.sum(axis=1) * noise)
    fewer = (fewer, np.bincount(s[row], minlength=stations))
    named(figures, noise_compared(names, hours, *fewer), "measure", "difference ")
    quiet = rng.poisson(hours).astype(float)
    poisson, _ = rate(quiet, hours, Clusters(None, np.arange(stations)), seed=0)
    figures["false_per_hour_poisson"] = poisson.low, poisson.high
    unexplained = judged.filter(pc.invert(pc.field("matched")))
    figures["audited_precision"] = audit(unexplained, judged.num_rows, rng)
    return figures, independent(a, len(extra), extra, hours)


def independent(a, extra, probability, hours):
    """The same of a few figures, as if rows did not err together."""
    r = a["residual"]
    matched = a["found"] & (np.abs(r) <= TOLERANCE_S)
    tp, picks, n = int(matched.sum()), int(a["found"].sum()) + extra, len(r)
    shares = a["found"].astype(float) - a["old_found"]
    alarms = int((probability >= NOISE_THRESHOLD).sum())
    estimates = {
        "recall_0.5s": metrics.proportion(tp, n),
        "precision_lower_0.5s": metrics.proportion(tp, picks),
        "f1_lower_0.5s": metrics.f1_score(tp, picks, n),
        "mae_0.5s": metrics.mean_absolute(r[matched]),
        "false_per_hour": metrics.rate_per_hour(alarms, hours.sum()),
        "difference recall": metrics.mean(shares),
    }
    return {name: (each.low, each.high) for name, each in estimates.items()}


def named(figures, table, column, prefix=""):
    for row in table.to_pylist():
        if row["phase"] in ("P", "P+S"):
            ends = (math.nan if row[end] is None else row[end] for end in ("low", "high"))
            figures[prefix + row[column]] = tuple(ends)


def days(names, s, e, a, row, extra, seen):
    """Picks and arrivals of the days, and noise windows after them where the extras lie."""
    found = a["found"]
    at = APART_S * (1 + e)
    length = 3600 * HOURS * seen
    beyond = APART_S * (e.max() + 3)
    spread = np.random.default_rng(len(row)).random(len(row))
    elsewhere = beyond + spread * length[s[row]]
    of = np.concatenate([s[found], s[row]])
    n = len(of)
    picks = timed(
        names[of],
        np.concatenate([(at + a["residual"])[found], elsewhere]),
        candidate=pa.repeat("new", n),
        offset_ns=pa.repeat(0, n).cast(pa.int32()),
        probability=pa.array(np.concatenate([a["probability"][found], extra]), pa.float32()),
        saddle=pa.repeat(0.0, n).cast(pa.float32()),
        elsewhere=pa.array(np.arange(n) >= found.sum()),
    )
    arrivals = timed(names[s], at, event=pa.array(e.astype(str)))
    start = T0 + round(beyond * 1e9)
    windows = pa.table(
        {
            "network": pa.repeat("XX", len(names)),
            "station": names,
            "location": pa.repeat("", len(names)),
            "start": pa.array([start] * len(names), UTC_NS),
            "end": pa.array(start + np.rint(length * 1e9).astype(np.int64) + 1, UTC_NS),
        }
    )
    arrivals = arrivals.select(ARRIVAL_SCHEMA.names).cast(ARRIVAL_SCHEMA)
    return picks, arrivals, windows.filter(pa.array(seen > 0))


def timed(stations, seconds, **more):
    n = len(stations)
    columns = {
        "network": pa.repeat("XX", n),
        "station": pa.array(stations.tolist()),
        "location": pa.repeat("", n),
        "phase": pa.repeat("P", n),
        "time": pa.array(T0 + np.rint(seconds * 1e9).astype(np.int64), UTC_NS),
    }
    return pa.table(columns | more)


def traces_of(names, s, e, a, weight):
    n = len(s)
    which = "" if weight == "new" else "old_"
    probability = a[which + "probability"]
    columns = {
        "weight": pa.repeat(weight, n),
        "trace_name": pa.array([str(k) for k in range(n)]),
        "event_id": pa.array(e.astype(str)),
        "station": pa.array(names[s].tolist()),
        "p_in_window": pa.repeat(1000, n),
        "s_in_window": pa.repeat(1500, n),
        "p_prob": probability,
        "s_prob": np.where(a["first"], 0.5, 1.0) * probability,
        "p_residual_s": a[which + "residual"],
        "s_residual_s": np.zeros(n),
    }
    fields = [field for field in TRACE_SCHEMA if field.name in columns]
    return pa.table([pa.array(columns[f.name]).cast(f.type) for f in fields], pa.schema(fields))


def decisions_of(names, s, e, a):
    """Each arrival's window, one of noise of the same station, and a development split of two."""
    n = len(s)
    said = np.concatenate([a["found"], a["false_alarm"], [True, False]])
    columns = {
        "weight": pa.repeat("new", 2 * n + 2),
        "dataset": pa.repeat("d", 2 * n + 2),
        "split": pa.array(["test"] * 2 * n + ["development"] * 2),
        "positive": np.arange(2 * n + 2) < n,
        "score": np.where(said, 0.9, 0.1),
        "event_id": pa.array([*e.astype(str).tolist(), *[None] * (n + 2)], pa.string()),
        "station": pa.array([*names[s].tolist() * 2, "A", "A"]),
    }
    columns["positive"][2 * n] = True
    return pa.table(columns, DECISION_SCHEMA)


def noise_compared(names, hours, fewer, more):
    def side(candidate, counts):
        columns = [pa.repeat(candidate, len(names)), names, pa.repeat("P", len(names)), names]
        keys = ["candidate", "key", "phase", "station", "count", "hours"]
        return pa.table([*columns, counts, hours], names=keys)

    both = pa.concat_tables([side("new", fewer), side("old", more)])
    return compare_rates(both, "old", seed=0, margin=0.1)


def audit(unexplained, picks, rng):
    sheet = draw(unexplained, 60, seed=int(rng.integers(1 << 30)))
    answers = pa.array(np.where(sheet["real"].to_numpy(), "real", "false").tolist())
    sheet = sheet.set_column(sheet.column_names.index("answer"), "answer", answers)
    n = unexplained.num_rows
    found = audited(sheet, picks - n, n).precision
    planted = (picks - n + pc.sum(unexplained["real"]).as_py()) / picks
    return found.low - planted, found.high - planted


def coverage(stations, events, worlds, recorded=1.0, seed=0):
    """(clustered, independent): figure -> share of the intervals given that hold the truth.

    Also how many had no interval: figure -> count.
    """
    true = truth() | {"audited_precision": 0.0}
    held: Counter[str] = Counter()
    given: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for world in range(worlds):
        rng = np.random.default_rng([seed, stations, events, world])
        found, alone = intervals(stations, events, rng, recorded)
        for name, value in true.items():
            low, high = found[name]
            given[name] += not math.isnan(low)
            held[name] += low <= value <= high
        for name, (low, high) in alone.items():
            others[name] += low <= true[name] <= high
    clustered = {name: held[name] / given[name] if given[name] else math.nan for name in true}
    independent = {name: count / worlds for name, count in others.items()}
    return clustered, independent, {name: worlds - given[name] for name in true}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("stations", "events", "worlds"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--recorded", type=float, default=1.0)
    given = parser.parse_args()
    found, alone, none = coverage(given.stations, given.events, given.worlds, given.recorded)
    names = {"clustered": found, "independent": alone, "without_interval": none}
    print(json.dumps(vars(given) | names, indent=1))


if __name__ == "__main__":
    main()
