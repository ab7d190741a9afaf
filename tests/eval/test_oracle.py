"""The golden per-trace table gives every published cell; what a bin cannot say stays unsaid."""

import csv
import math
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from catalog.examined import TRACE_SCHEMA
from eval.oracle import COMPOSITION_SCHEMA, ORACLE_SCHEMA, composition, score
from eval.thresholds import Thresholds

GOLDEN = Path(__file__).parents[2] / "../shared/data/golden/benchmark"
PUBLISHED_NAMES = {
    "recall": "recall_t0.30",
    "recall_t01": "recall_t0.10",
    "recall_t02": "recall_t0.20",
    "recall_t03": "recall_t0.30",
    "recall_t05": "recall_t0.50",
    "recall_t07": "recall_t0.70",
    "med_prob": "prob_median",
    "mae_s": "mae_uncond_w5s",
    "rmse_s": "rmse_uncond_w5s",
    "outlier": "out_gt1.5s_uncond_w5s",
    "outlier_1s": "out_gt1.0s_uncond_w5s",
    "mae_s_cond": "mae_cond_t0.30",
    "rmse_s_cond": "rmse_cond_t0.30",
    "outlier_cond": "out_gt1.5s_cond",
    "outlier_1s_cond": "out_gt1.0s_cond",
    "timed_recall_1s": "recall_1.0s_t0.30",
}


def rows_of(name):
    with (GOLDEN / name).open() as file:
        return list(csv.DictReader(file))


def half_up(value, digits):
    """The value to so many digits, halves away from zero, of what is written to 4 digits."""
    four = Decimal(repr(value)).quantize(Decimal("0.0001"), ROUND_HALF_UP)
    return float(four.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


@pytest.fixture(scope="module")
def benchmark():
    """(candidate, bin, phase, metric) -> row, and (candidate, bin) -> composition."""
    if not GOLDEN.is_dir():
        pytest.skip(f"no golden benchmark at {GOLDEN}")
    table = pq.read_table(GOLDEN / "per_trace_SYNTHETIC.parquet")
    table = table.rename_columns({"trace_id": "trace_name"})
    strata = ("all", "dist_bin")
    scores = score(table, strata=strata, seed=0).to_pylist()
    made_of = composition(table, strata).to_pylist()
    return (
        {(r["candidate"], r["bin"], r["phase"], r["metric"]): r for r in scores},
        {(r["candidate"], r["bin"]): r for r in made_of},
    )


def cell(benchmark, candidate, bin_name, name):
    """(our value, its n) of a published column name."""
    scores, made_of = benchmark
    if name == "n_traces":
        return made_of[candidate, bin_name]["traces"], None
    if name == "mcc":
        row = scores[candidate, bin_name, "P+S", "mcc_phase_id"]
        return row["value"], row["n"]
    counted = name.startswith("n_")
    phase, rest = name.removeprefix("n_").split("_", 1)
    if counted and rest == "traces":
        return made_of[candidate, bin_name][f"labelled_{phase.upper()}"], None
    metric = "recall_t0.30" if counted else PUBLISHED_NAMES[rest]
    row = scores[candidate, bin_name, phase.upper(), metric]
    return (row["count"] if counted else row["value"]), row["n"]


def test_every_cell_of_expected_csv(benchmark):
    compared = undefined = 0
    for expected in rows_of("expected.csv"):
        where = expected["weight"], expected["dist_bin"], expected["metric"]
        ours, n = cell(benchmark, *where)
        if expected["expected_from_synthetic"] == "":
            assert ours is None and n == 0, where
            undefined += 1
        else:
            assert ours == pytest.approx(float(expected["expected_from_synthetic"]), abs=5.1e-5), (
                where
            )
        compared += 1
    assert (compared, undefined) == (720, 80)


def test_every_cell_of_expected_extra_csv(benchmark):
    compared = 0
    for expected in rows_of("expected_extra.csv"):
        where = expected["weight"], expected["dist_bin"].replace("null", "unknown")
        scores, made_of = benchmark
        mcc = scores[*where, "P+S", "mcc_phase_id"]
        timed = scores[*where, "P", "recall_1.0s_t0.30"]["value"]
        assert timed == pytest.approx(float(expected["p_timed_recall_1s"]), abs=5.1e-5), where
        assert made_of[where]["traces"] == int(expected["n"])
        assert made_of[where]["labelled_P"] == int(expected["n_p"])
        assert scores[*where, "P", "recall_t0.30"]["count"] == int(expected["n_p_detected"])
        assert mcc["count"] == int(expected["n_p_prob_gt_s_prob"])
        assert mcc["n"] == made_of[where]["labelled_both"] == int(expected["n_both"])
        compared += 6
    assert compared == 150


def test_every_cell_of_doc_tables_that_the_synthetic_table_holds(benchmark):
    held = {candidate for candidate, _ in benchmark[1]}
    compared = 0
    for expected in rows_of("doc_tables.csv"):
        if expected["weight"] not in held:
            continue  # their traces are not in the table
        where = expected["weight"], expected["dist_bin"], expected["metric"]
        ours, _ = cell(benchmark, *where)
        assert half_up(ours, 3) == float(expected["doc_value"]), where
        compared += 1
    assert compared == 39


def test_every_edge_case():
    if not GOLDEN.is_dir():
        pytest.skip(f"no golden benchmark at {GOLDEN}")
    traces = [
        {
            "weight": row["case"],
            "trace_name": row["trace"],
            "p_in_window": int(row["p_in_window"]),
            "s_in_window": -1,
            "p_prob": float(row["p_prob"]),
            "p_residual_s": float(row["p_residual_s"]) if row["p_residual_s"] else None,
        }
        for row in rows_of("edge_cases.csv")
    ]
    scores = score(pa.Table.from_pylist(traces, TRACE_SCHEMA), strata=("all",), seed=0)
    found = {(r["candidate"], r["phase"], r["metric"]): r for r in scores.to_pylist()}
    names = {
        "recall": "recall_t0.30",
        "mae_uncond": "mae_uncond_w5s",
        "mae_cond": "mae_cond_t0.30",
        "out1s_cond": "out_gt1.0s_cond",
        "timed_recall_1s": "recall_1.0s_t0.30",
    }
    compared = 0
    for expected in rows_of("edge_expected.csv"):
        recall = found[expected["case"], "P", "recall_t0.30"]
        assert (recall["n"], recall["count"]) == (int(expected["n_p"]), int(expected["n_det"]))
        compared += 2
        for column, metric in names.items():
            row = found[expected["case"], "P", metric]
            if expected[column] == "":
                assert (row["value"], row["low"], row["high"], row["n"]) == (None, None, None, 0)
            else:
                assert row["value"] == pytest.approx(float(expected[column]), rel=1e-12)
            compared += 1
    assert compared == 42


def trace(name, **changes):
    given = {
        "weight": "one",
        "trace_name": name,
        "dataset": "set",
        "event_id": name[0],
        "station": name[1:],
        "p_in_window": 100,
        "s_in_window": -1,
        "p_prob": 0.9,
        "p_residual_s": 0.1,
    }
    return given | changes


def table_of(*traces):
    return pa.Table.from_pylist(list(traces), TRACE_SCHEMA)


def only(table, **where):
    for name, value in where.items():
        table = table.filter(pc.equal(table[name], value))
    [row] = table.to_pylist()
    return row


def test_a_bin_without_labels_is_undefined_with_count_0():
    table = table_of(
        *(trace(f"{e}{s}", distance_km=1_500.1) for e in "abcd" for s in "xyz"),
        *(trace(f"{e}{s}", distance_km=149.9, s_in_window=9, s_prob=0.1, s_residual_s=3.0)
          for e in "efgh" for s in "xyz"),
    )  # fmt: skip
    scores = score(table, strata=("dist_bin",), seed=0)
    assert scores.schema == ORACLE_SCHEMA
    far = only(scores, bin="teleseismic (>1500km)", phase="S", metric="recall_t0.30")
    assert (far["value"], far["low"], far["high"], far["n"], far["clusters"]) == (None,) * 3 + (
        0,
        0,
    )
    near = only(scores, bin="local (<150km)", phase="S", metric="recall_t0.30")
    assert (near["value"], near["n"], near["count"]) == (0.0, 12, 0)
    assert near["high"] > 0.3, "none found of four events is not a recall of zero for certain"
    timing = only(scores, bin="local (<150km)", phase="S", metric="mae_cond_t0.30")
    assert (timing["value"], timing["n"]) == (None, 0)
    assert near["interval_over"] == "event+station"
    assert near["clusters"] == 3

    made_of = composition(table, ("dist_bin",))
    assert made_of.schema == COMPOSITION_SCHEMA
    row = only(made_of, bin="teleseismic (>1500km)")
    assert (row["traces"], row["labelled_P"], row["labelled_S"]) == (12, 12, 0)
    assert (row["events"], row["stations"], row["datasets"]) == (4, 3, "set 12")


def test_a_trace_that_could_not_be_read_is_an_outcome_and_in_no_metric():
    lost = trace("bx", p_prob=None, p_residual_s=None, outcome="bad_format", detail="no array")
    table = table_of(trace("ax"), lost)
    row = only(score(table, strata=("all",), seed=0), phase="P", metric="recall_t0.30")
    assert (row["value"], row["n"]) == (1.0, 1)
    made_of = only(composition(table, ("all",)))
    assert (made_of["traces"], made_of["not_read"], made_of["labelled_P"]) == (2, 1, 1)


def test_a_model_without_any_s_scores_high_in_phase_identification_and_zero_in_recall():
    """Why the phase-identification MCC is never a detection score."""
    table = table_of(
        *(trace(f"{e}x", s_in_window=9, s_prob=0.0, s_residual_s=4.0) for e in "abcdef")
    )
    scores = score(table, strata=("all",), seed=0)
    assert only(scores, metric="mcc_phase_id")["value"] == 1.0
    assert only(scores, phase="S", metric="recall_t0.30")["value"] == 0.0


def test_each_candidate_is_judged_at_its_own_threshold():
    table = table_of(trace("ax", p_prob=0.25), trace("ax", weight="two", p_prob=0.25))
    each = {"one": {"P": 0.25, "S": 0.3}, "two": {"P": 0.275, "S": 0.3}}
    scores = score(table, Thresholds(each), ("all",), seed=0, recall_thresholds=())
    one = only(scores, candidate="one", phase="P", metric="recall_t0.25")
    two = only(scores, candidate="two", phase="P", metric="recall_t0.275")
    assert (one["value"], two["value"]) == (1.0, 0.0)
    with pytest.raises(ValueError, match="none for candidate 'two', phase P"):
        score(table, Thresholds({"one": each["one"]}), ("all",), seed=0)


def test_any_column_can_be_a_stratum():
    table = table_of(trace("ax"), trace("bx"), trace("cx"))
    table = table.append_column("regime", pa.array(["subduction", None, "subduction"]))
    scores = score(table, strata=("regime", "snr_bin"), seed=0)
    found = only(scores, bin="subduction", phase="P", metric="recall_t0.30")
    assert found["n"] == 2
    assert only(scores, stratum="regime", bin="unknown", phase="P", metric="recall_t0.30")["n"] == 1
    with pytest.raises(ValueError, match="stratum 'tectonics': no such column"):
        score(table, strata=("tectonics",), seed=0)


def test_the_interval_of_a_median_holds_it():
    table = table_of(
        *(trace(f"{e}{s}", p_prob=(i * 7 % 20) / 20 + 0.01)
          for i, (e, s) in enumerate((e, s) for e in "abcdef" for s in "uvwxyz"))
    )  # fmt: skip
    row = only(score(table, strata=("all",), seed=0), phase="P", metric="prob_median")
    assert row["low"] < row["value"] < row["high"]
    assert not math.isclose(row["low"], row["high"])


@pytest.mark.parametrize(
    ("traces", "message"),
    [
        ((trace("ax"), trace("ax")), "'one' has set/ax more than once"),
        ((trace("ax", p_prob=None),), "'p_prob' is not usable for ax"),
        ((trace("ax", p_residual_s=None),), "'p_residual_s' is not usable for ax"),
        ((trace("ax", p_prob=1.01),), "'p_prob' is not usable for ax"),
        ((trace("ax", p_in_window=None),), "'p_in_window' holds nulls"),
    ],
)
def test_refusals_name_the_column_and_the_trace(traces, message):
    with pytest.raises(ValueError, match=message):
        score(table_of(*traces), seed=0)


def test_float32_probabilities_are_refused():
    table = table_of(trace("ax"))
    table = table.set_column(
        table.column_names.index("p_prob"), "p_prob", table["p_prob"].cast(pa.float32())
    )
    with pytest.raises(ValueError, match="'p_prob' is float32"):
        score(table, seed=0)
