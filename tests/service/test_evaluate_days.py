"""Noise and continuous days through the command line, on a catalogue that a campaign picked."""

import csv
import json
from datetime import date
from pathlib import Path

import numpy as np
import obspy
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from catalog.query import Catalog
from catalog.schema import TraceId, day_start_ns
from catalog.truth import NOISE_SCHEMA
from eval.continuous import score as score_complete
from eval.report.leaderboard import EQUAL_FALSE_PICKS, EQUAL_PICKS
from eval.reviewed import judged_picks
from eval.thresholds import picks_at
from service.cli import main
from service.evaluate.config import load_evaluation
from service.evaluate.days.continuous import Judged
from service.evaluate.pieces import Workbench
from service.evaluate.tables import kept
from tests.service.picking import pick
from workers.synthetic import network_days, write_sds

T0 = day_start_ns(date(2024, 3, 1))
TRACES = [TraceId("XX", name, "", "HH") for name in "ABCD"]
SECONDS = 1800.0

CAMPAIGN = """\
name = "days"
catalog = "catalog"
[archive]
kind = "{kind}"
root = "{root}"
[select]
stations = ["*.*"]
start = {start}
end = {end}
{candidates}
"""
SYNTHETIC = """\
[[candidate]]
name = "synthetic"
weights = "builtin:synthetic"
[[candidate]]
name = "synthetic_early"
weights = "builtin:synthetic_early"
"""


@pytest.fixture(scope="module")
def picked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour at four stations, events in its first half and all of them planted; XX.A has a gap.
    `truth.parquet`, `stations.csv`, and a catalogue of two candidates."""
    folder = tmp_path_factory.mktemp("days")
    rng = np.random.default_rng(11)
    recordings = network_days(
        TRACES, T0, SECONDS, 60.0, rng, gaps={TRACES[0]: [(600.0, 700.0)]}, disturbances_per_hour=20
    )
    calm = network_days(TRACES, T0 + round(SECONDS * 1e9), SECONDS, 0.0, rng, None, 20)
    write_sds(folder / "archive", [*recordings, *calm])
    pq.write_table(pa.concat_tables(r.arrivals for r in recordings), folder / "truth.parquet")
    (folder / "stations.csv").write_text(
        "network,station,latitude,longitude\n"
        + "".join(f"XX,{trace.station},10.{k},20\n" for k, trace in enumerate(TRACES))
    )
    (folder / "none.csv").write_text("time,latitude,longitude,depth,mag\n")
    (folder / "campaign.toml").write_text(
        CAMPAIGN.format(
            kind="sds", root="archive", start="2024-03-01", end="2024-03-02", candidates=SYNTHETIC
        )
    )
    pick(folder / "campaign.toml")
    return folder


@pytest.fixture
def evaluate(picked, tmp_path, capsys):
    """Runs `tidepick eval WHAT` over an evaluation whose tables are tmp_path's own."""

    def run(what: str, body: str, *options: str, candidates=SYNTHETIC, code: int = 0):
        path = picked / f"{tmp_path.name}.toml"
        path.write_text(f'name = "e"\nout = "{tmp_path}"\nthreshold = 0.3\n{candidates}{body}')
        capsys.readouterr()
        assert main(["eval", what, str(path), "--json", *options]) == code
        return json.loads(capsys.readouterr().out)

    return run


def truth_of(picked: Path) -> pa.Table:
    return pq.read_table(picked / "truth.parquet")


def table_of(out: Path, name: str) -> pa.Table:
    table = kept(out, name)
    assert table is not None
    return table


def only(rows, **where):
    [row] = [row for row in rows if all(row[k] == v for k, v in where.items())]
    return row


COMPLETE = """
[continuous]
catalog = "catalog"
arrivals = ["truth.parquet"]
complete = true
"""
REVIEWED = '[continuous]\ncatalog = "catalog"\narrivals = ["{arrivals}"]\n'
NOISE = """
[noise]
catalog = "catalog"
events = "none.csv"
stations = "stations.csv"
arrivals = ["truth.parquet"]
"""


def test_complete_truth_is_scored_as_the_library_does(picked, evaluate, tmp_path):
    facts = evaluate("continuous", COMPLETE)
    catalog = Catalog(str(picked / "catalog"))
    hours = catalog.sql("SELECT candidate, seconds / 3600 AS hours FROM coverage")
    expected = score_complete(catalog.picks_at(0.3), truth_of(picked), hours, 0.5).to_pylist()
    for name in ("synthetic", "synthetic_early"):
        for phase in ("P", "S", "P+S"):
            want = only(expected, candidate=name, phase=phase)
            for metric in ("recall_0.5s", "precision_0.5s", "f1_0.5s"):
                row = only(facts["complete"], candidate=name, phase=phase, metric=metric)
                assert (row["value"], row["low"], row["high"]) == pytest.approx(
                    (want[metric], want[f"{metric}_low"], want[f"{metric}_high"])
                )
            rate = f"false_picks_per_station_hour_{0.5}s"
            row = only(facts["complete"], candidate=name, phase=phase, metric=rate)
            assert row["station_hours"] == pytest.approx(4 - 100 / 3600, abs=1e-3)
    bound = only(
        facts["continuous"], candidate="synthetic", phase="P", metric="precision_lower_0.5s",
        stratum="all",
    )  # fmt: skip
    row = only(facts["complete"], candidate="synthetic", phase="P", metric="precision_0.5s")
    assert bound["value"] == row["value"] > 0.5
    assert {r["tolerance_s"] for r in facts["continuous"]} == {0.1, 0.25, 0.5, 1.0}
    bins = {r["bin"] for r in facts["continuous"] if r["stratum"] == "snr_bin" and r["n"]}
    assert len(bins & {"10-20 dB", "20-30 dB", ">=30 dB"}) >= 2, "arrivals have their own"
    assert facts["arrivals_left_out"] == []
    assert only(facts["support"], candidate="synthetic", phase="P")["value"] is None
    at_half_a_second = [row["matched"] for row in expected if row["phase"] == "P+S"]
    residuals = table_of(tmp_path, "residuals")["residual_s"].to_numpy()
    assert (np.abs(residuals) <= 0.5).sum() == sum(at_half_a_second)


def test_what_arrivals_cannot_be_judged_is_told(picked, evaluate, tmp_path):
    """One in the gap, one on another day, one at a station nobody picked; a wrong location."""
    lines = ["network,station,location,phase,time"]
    for row in truth_of(picked).slice(0, 6).to_pylist():
        time = row["time"].isoformat().split("+")[0]
        lines.append(f"XX,{row['station']},00,{row['phase']},{time}")
    lines += [
        "XX,A,,P,2024-03-01T00:11:00",
        "XX,A,,P,2024-03-03T00:11:00",
        "XX,Z,,P,2024-03-01T00:11:00",
        "XX,A,,pP,2024-03-01T00:11:00",
    ]
    (tmp_path / "some.csv").write_text("\n".join(lines))
    facts = evaluate("continuous", REVIEWED.format(arrivals=tmp_path / "some.csv"))
    assert {row["why"]: row["count"] for row in facts["arrivals_left_out"]} == {
        "on a station-day that is not picked": 2,
        "phase 'pP' is neither P nor S": 1,
        "without data there": 1,
    }
    assert facts["arrivals"] == facts["arrivals given the location of the data"] == 6
    assert facts["station-days"] == 1, "of the stations that the analysts read"
    stations = {row["bin"] for row in facts["continuous"] if row["stratum"] == "station"}
    assert stations == {"XX.A"}
    assert len(facts["continuous"]) and "complete" not in facts


def test_an_audit_recovers_the_precision_that_the_analysts_hide(picked, evaluate, tmp_path):
    """Analysts wrote down half of the planted arrivals; reviewers, who know all, see the rest."""
    truth = truth_of(picked)
    half = truth.filter(pa.array(np.random.default_rng(5).random(truth.num_rows) < 0.5))
    pq.write_table(half, tmp_path / "half.parquet")
    body = REVIEWED.format(arrivals=tmp_path / "half.parquet")
    evaluate("audit", body, "--draw", "20")
    sheet = tmp_path / "audit.csv"
    rows = list(csv.DictReader(sheet.open()))
    assert not {"candidate", "probability", "stratum"} & rows[0].keys(), "reviewers are blind"
    key = {
        str(row["sample"]): row["candidate"] for row in table_of(tmp_path, "audit_key").to_pylist()
    }
    assert len({key[row["sample"]] for row in rows[: len(rows) // 2]}) == 2, "and mixed"
    whole = truth.set_column(4, "time", truth["time"].cast(pa.int64())).to_pylist()
    for row in rows:
        at = obspy.UTCDateTime(row["time"].replace(" ", "T")).ns
        near = [
            abs(each["time"] - at) <= 500_000_000
            for each in whole
            if (each["station"], each["phase"]) == (row["station"], row["phase"])
        ]
        row["answer"] = "Real" if any(near) else "false"
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    told = evaluate("audit", body, code=2)["error"]
    assert "may hold answers" in told
    facts = evaluate("continuous", body + f'reviewed = "{sheet}"\n')
    complete = evaluate("continuous", COMPLETE)["complete"]
    covered = 0
    for name in ("synthetic", "synthetic_early"):
        for phase in ("P", "S"):
            where = {"candidate": name, "phase": phase}
            row = only(facts["audit"], metric="precision_audited_0.5s", **where)
            lower = only(facts["continuous"], metric="precision_lower_0.5s", stratum="all", **where)
            true = only(complete, metric="precision_0.5s", **where)["value"]
            assert lower["value"] < 0.75 * true
            assert row["answered"] == min(20, row["extras"])
            covered += row["low"] - 1e-9 <= true <= row["high"] + 1e-9
    assert covered >= 3
    other = body.replace("half.parquet", "other.parquet")
    pq.write_table(truth, tmp_path / "other.parquet")
    told = evaluate("continuous", other + f'reviewed = "{sheet}"\n', code=2)["error"]
    assert "are no extras any more" in told


def test_noise_is_counted_where_nothing_was_planted(picked, evaluate, tmp_path):
    facts = evaluate("noise", NOISE + "windows_per_hour = 120\n")
    windows = pq.read_table(tmp_path / "tables" / "noise_windows.parquet")
    assert windows.schema.names == NOISE_SCHEMA.names
    rule = json.loads(windows.schema.metadata[b"tidepick_noise"])
    assert (rule["rule_version"], rule["seed"], rule["events"]) == (1, 0, 0)
    assert len(rule["arrivals_sha256"][0]) == 64
    start, end = (windows[name].cast(pa.int64()).to_numpy() for name in ("start", "end"))
    truth = truth_of(picked)
    for station in "ABCD":
        own = pc.equal(windows["station"], station).to_numpy()
        times = truth.filter(pc.field("station") == station)["time"].cast(pa.int64()).to_numpy()
        assert not ((times[:, None] > start[own] - 60e9) & (times[:, None] < end[own])).any()
    picks = Catalog(str(picked / "catalog")).picks_at(0.3)
    at = picks["time"].cast(pa.int64()).to_numpy() + picks["offset_ns"].to_numpy()
    codes = np.array(windows["station"].to_pylist())
    for row in (r for r in facts["noise_rates"] if r["threshold"] == 0.3):
        own = pc.and_(
            pc.equal(picks["candidate"], row["candidate"]), pc.equal(picks["phase"], row["phase"])
        ).to_numpy()
        names = np.array(picks["station"].to_pylist())
        inside = (names[own, None] == codes) & (at[own, None] >= start) & (at[own, None] < end)
        assert row["count"] == inside.sum()
        assert row["hours"] == pytest.approx(windows.num_rows / 120)
    for row in facts["noise_thresholds"]:
        assert row["count"] <= row["target_per_hour"] * row["hours"]
    given = evaluate(
        "noise", f'[noise]\ncatalog = "catalog"\nwindows = "{tmp_path}/tables/noise_windows.csv"\n'
    )
    assert given["noise_rates"] == facts["noise_rates"], "the csv that was kept says the same"


def test_refusals_name_the_field_and_the_fix(picked, evaluate, tmp_path, capsys):
    def refused(what, body, **more):
        return evaluate(what, body, code=2, **more)["error"]

    assert "noise: missing" in refused("noise", "")
    assert "continuous: missing" in refused("continuous", "")
    other = SYNTHETIC.replace('"synthetic"', '"else"')
    assert "no candidate 'else', only" in refused("noise", NOISE, candidates=other)
    swapped = SYNTHETIC.replace("builtin:synthetic_early", "builtin:synthetic")
    assert "it is other weights" in refused("continuous", COMPLETE, candidates=swapped)
    assert "stations: missing" in refused("noise", NOISE.replace('stations = "stations.csv"', ""))
    path = picked / "low.toml"
    path.write_text(f'name = "e"\nout = "{tmp_path}"\nthreshold = 0.05\n{SYNTHETIC}{NOISE}')
    capsys.readouterr()
    assert main(["eval", "noise", str(path)]) == 2
    assert "picks are stored from 0.1 on" in capsys.readouterr().err
    (tmp_path / "elsewhere.csv").write_text(
        "network,station,phase,time\nXX,A,P,2020-01-01T00:00:00\n"
    )
    told = refused("continuous", REVIEWED.format(arrivals=tmp_path / "elsewhere.csv"))
    assert "no arrival is on picked data" in told and "not picked': 1" in told
    (tmp_path / "windows.csv").write_text("network,station,location,start,end\nXX,A,,0,30\n")
    told = refused("noise", f'[noise]\ncatalog="catalog"\nwindows="{tmp_path}/windows.csv"\n')
    assert "no window is left" in told
    day = "2024-03-01T00:00"
    (tmp_path / "windows.csv").write_text(
        f"network,station,location,start,end\nXX,A,,{day}:00,{day}:30\nXX,A,,{day}:29,{day}:59\n"
    )
    told = refused("noise", f'[noise]\ncatalog="catalog"\nwindows="{tmp_path}/windows.csv"\n')
    assert "windows.csv: noise: XX.A..1709251200000000000: the window ends" in told
    assert "tolerances_s" in refused("continuous", COMPLETE + "tolerances_s = [0.0]\n")


def test_candidates_on_different_days_are_refused(picked, evaluate, tmp_path):
    body = (picked / "campaign.toml").read_text()
    one = body.split("[[candidate]]")[0].replace('["*.*"]', '["XX.A"]')
    third = '[[candidate]]\nname = "third"\nweights = "builtin:synthetic"\nP_threshold = 0.2\n'
    (picked / "third.toml").write_text(one + third)
    pick(picked / "third.toml")
    told = evaluate("noise", NOISE, candidates=SYNTHETIC + third, code=2)["error"]
    assert "did not pick the same station-days" in told and "3 only by 'synthetic'" in told


def test_the_run_s_own_windows_give_its_picks_and_others_nearly(picked, evaluate, tmp_path):
    pq.write_table(truth_of(picked).slice(0, 16), tmp_path / "some.parquet")
    body = REVIEWED.format(arrivals=tmp_path / "some.parquet")
    facts = evaluate("continuous", body + "shifts = 4\n")
    table = table_of(tmp_path, "shift")
    assert set(table["shift_s"].to_pylist()) == {0.0, 0.25, 0.5, 0.75}
    names = ("candidate", "station", "phase", "arrival_time")
    pairs = {tuple(p[n] for n in names): p for p in table_of(tmp_path, "residuals").to_pylist()}
    same = 0
    for row in table.filter(pc.field("shift_s") == 0.0).to_pylist():
        pair = pairs.get((row["candidate"], row["station"], row["phase"], row["time"]))
        if pair is not None and pair["residual_s"] == row["residual_s"]:
            same += 1
            assert row["probability"] == pytest.approx(pair["probability"], abs=1e-6)
    assert same >= len(pairs) - 1
    for row in facts["shift_movement"]:
        assert 0 < row["probability_range_median"] < row["probability_range_max"] < 1
        assert row["time_range_median_s"] < 0.2


def test_real_hours_against_the_analysts(data: Path, tmp_path: Path, capsys) -> None:
    """SeisBench finds all six at 0.3 within 0.1 s; so does the catalogue, at any window."""
    source = data / "continuous" / "pnsn_2022-037"
    (tmp_path / "archive").mkdir()
    for name in ("PB.B204..EH.ms", "UW.SHW..HH.ms"):
        stream = obspy.read(str(source / name))
        start = obspy.UTCDateTime("2022-02-06T02:00:00")
        stream.slice(start, start + 2700).write(str(tmp_path / "archive" / name), format="MSEED")
    one = f'[[candidate]]\nname = "original"\nweights = "{data}/weights/original.safetensors"\n'
    (tmp_path / "campaign.toml").write_text(
        CAMPAIGN.format(
            kind="files", root="archive", start="2022-02-06", end="2022-02-07", candidates=one
        )
    )
    pick(tmp_path / "campaign.toml")
    arrivals = ", ".join(f'"{path}"' for path in sorted(source.glob("*.csv")))
    (tmp_path / "evaluation.toml").write_text(
        f'name = "e"\nout = "out"\n{one}'
        f'[continuous]\ncatalog = "catalog"\narrivals = [{arrivals}]\n'
    )
    capsys.readouterr()
    assert main(["eval", "continuous", str(tmp_path / "evaluation.toml"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["arrivals"] == 6
    assert sum(row["count"] for row in facts["arrivals_left_out"]) == 17
    for phase, count in (("P", 4), ("S", 2)):
        row = only(facts["continuous"], phase=phase, metric="recall_0.25s", stratum="all")
        assert (row["matched"], row["n"]) == (count, count)


def test_days_are_compared_at_equal_picks_and_equal_false_picks(picked, evaluate, tmp_path):
    """At equal picks both emit as many; with one hour of noise equal false picks are refused."""
    evaluate("report", COMPLETE + NOISE)
    path = picked / f"{tmp_path.name}.toml"
    evaluation = load_evaluation(path)
    judged = Judged.of(evaluation, path, Workbench.of(evaluation, Console(stderr=True)))
    stored, arrivals = judged.picks, judged.arrivals
    at_one = picks_at(stored, 0.3)
    for phase in "PS":
        here = pc.field("phase") == phase
        wanted = at_one.filter(here & (pc.field("candidate") == "synthetic")).num_rows
        early = stored.filter(here & (pc.field("candidate") == "synthetic_early"))
        tried = [picks_at(early, t) for t in pc.unique(early["probability"]).to_pylist()]
        standing = next(table for table in tried if table.num_rows == wanted)
        hits = pc.sum(judged_picks(standing, arrivals)["matched"]).as_py()
        row = only(
            table_of(tmp_path, EQUAL_PICKS).to_pylist(),
            candidate="synthetic_early", phase=phase, measure="recall",
        )  # fmt: skip
        assert row["value"] == pytest.approx(hits / arrivals.filter(here).num_rows)
    assert kept(tmp_path, EQUAL_FALSE_PICKS) is None
    evaluate("report", COMPLETE + NOISE + "target_rate = 40\n")
    assert table_of(tmp_path, EQUAL_FALSE_PICKS).num_rows == 4


def test_a_refused_part_leaves_the_page(picked, evaluate, tmp_path):
    """No noise window is left, so there are no thresholds for battles: all the rest is there, and
    nothing of the noise that was judged before."""
    evaluate("report", COMPLETE + NOISE)
    assert table_of(tmp_path, "noise_rates").num_rows
    (picked / "elsewhere.csv").write_text(
        "network,station,start,end\nYY,Q,2020-01-01T00:00:00Z,2020-01-01T00:01:00Z\n"
    )
    noise = '[noise]\ncatalog = "catalog"\nwindows = "elsewhere.csv"\n[arena]\n'
    told = evaluate("report", COMPLETE + noise, code=1)
    assert Path(told["report"]).exists()
    assert table_of(tmp_path, "continuous").num_rows
    assert kept(tmp_path, "noise_rates") is None and kept(tmp_path, "noise_thresholds") is None
    assert table_of(tmp_path, "snippets").schema.names
