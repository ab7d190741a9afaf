"""`tidepick eval oracle|compare|splits`: one evaluation file, from labelled traces to a verdict."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import service.evaluate.labelled.traces as running
import service.evaluate.pieces as pieces
from service.cli import main
from service.evaluate.arguments import EVALUATION
from service.evaluate.config import load_evaluation
from service.evaluate.labelled.traces import per_trace
from service.evaluate.tables import keep, kept
from tests.conftest import DATA
from tests.service.examiners import killing
from workers.examiner import Examiner

REAL = f"""\
name = "real"
out = "out"
baseline = "original"
[[candidate]]
name = "original"
weights = "{DATA}/weights/original.safetensors"
[[candidate]]
name = "broken"
weights = "{DATA}/weights/250606-200518_epoch_200.safetensors"
"""
NPZ = f"""
[[benchmark]]
name = "ncedc"
kind = "npz"
path = "{DATA}/labelled/ncedc_labelled.npz"
"""
BUILTIN = """\
name = "planted"
out = "out"
splits = "splits"
{more}
[[candidate]]
name = "late"
weights = "builtin:synthetic"
[[candidate]]
name = "early"
weights = "builtin:synthetic_early"
[[candidate]]
name = "both"
weights = ["builtin:synthetic", "builtin:synthetic_early"]
[[benchmark]]
name = "planted"
kind = "npz"
path = "planted.npz"
strata = ["regime"]
"""


def said(capsys, *words):
    """(exit code, JSON) of `tidepick eval WORDS --json`."""
    capsys.readouterr()
    code = main(["eval", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def scores(facts, which="all"):
    rows = facts["scores"][which]["oracle"]
    return {
        (r["candidate"], r["bin"], r["phase"], r["metric"]): r
        for r in rows
        if r["stratum"] in ("all", "dist_bin", "regime")
    }


@pytest.fixture
def real(data, tmp_path):
    path = tmp_path / "evaluation.toml"
    path.write_text(REAL + NPZ)
    return path


@pytest.fixture(scope="module")
def planted_npz(tmp_path_factory):
    """60 traces of 30 events at 6 stations: P and S pulses in noise."""
    rng = np.random.default_rng(3)
    data = rng.normal(0, 1, (60, 6000, 3)).astype(np.float32)
    t = np.arange(2000) / 100
    pulse = np.exp(-t / 1.5) * np.sin(2 * np.pi * 6 * t)
    for k in range(60):
        data[k, 2000:4000] += pulse[:, None] * np.array([8, 8, 40])
        data[k, 2600:4600] += pulse[:, None] * np.array([90, 90, 15])
    path = tmp_path_factory.mktemp("planted") / "planted.npz"
    np.savez(
        path,
        data=data,
        itp=np.full(60, 2000),
        its=np.where(np.arange(60) % 4 == 3, -1, 2600),
        name=[f"t{k}" for k in range(60)],
        event_id=[f"quake{k // 2}" for k in range(60)],
        station=[f"XX.S{k % 6}" for k in range(60)],
        distance_km=np.where(np.arange(60) % 4 == 3, 3000.0, 40.0),
        regime=["oceanic" if k % 2 else "continental" for k in range(60)],
    )
    return path


@pytest.fixture
def planted(planted_npz: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes an evaluation file of it, with further lines."""
    shutil.copy(planted_npz, tmp_path / "planted.npz")

    def written(more: str = "", end: str = "") -> Path:
        path = tmp_path / "evaluation.toml"
        path.write_text(BUILTIN.format(more=more) + end)
        return path

    return written


def unsplit(path: Path) -> Path:
    path.write_text(path.read_text().replace('splits = "splits"\n', ""))
    return path


def test_the_broken_candidate_is_last(real, capsys):
    code, facts = said(capsys, "oracle", real)
    assert code == 0
    found = scores(facts)
    for phase in ("P", "S"):
        for metric in ("recall_t0.30", "recall_1.0s_t0.30"):
            good, bad = (found[name, "all", phase, metric] for name in ("original", "broken"))
            assert good["n"] == bad["n"] == 78
            assert bad["high"] < good["low"]
    silent = found["broken", "all", "S", "mae_cond_t0.30"]
    assert silent["value"] is None and silent["n"] == 0  # undefined, and not 0

    code, facts = said(capsys, "compare", real)
    verdicts = {
        (row["phase"], row["measure"]): row["verdict"] for row in facts["comparison"]["all"]["rows"]
    }
    assert code == 0
    assert verdicts["P", "recall"] == verdicts["S", "recall"] == "worse"

    main(["eval", "oracle", str(real)])
    shown = capsys.readouterr().out
    assert "undefined" in shown and "72/78" in shown


def test_bins_strata_and_an_ensemble(planted, capsys):
    code, facts = said(capsys, "oracle", unsplit(planted()))
    assert code == 0
    found = scores(facts)
    assert {name for name, *_ in found} == {"late", "early", "both"}
    far = found["late", "teleseismic (>1500km)", "S", "recall_t0.30"]
    assert far["value"] is None and far["n"] == 0  # no label of S there
    assert found["late", "teleseismic (>1500km)", "P", "recall_t0.30"]["n"] == 15
    assert found["late", "oceanic", "P", "recall_t0.30"]["n"] == 30
    assert found["both", "all", "P", "recall_t0.30"]["value"] > 0.9
    table = kept(Path(facts["out"]), "traces")
    assert table is not None and table["p_prob"].type == pa.float64()
    made_of = facts["scores"]["all"]["composition"]
    assert {row["events"] for row in made_of if row["bin"] == "all"} == {30}


def test_a_run_that_was_killed_goes_on_where_it_was(planted, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "PIECE", 7)
    path = unsplit(planted())
    evaluation, console = load_evaluation(path), Console(quiet=True)
    whole = per_trace(evaluation.model_copy(update={"traces": str(tmp_path / "a")}), console).table

    done: list[object] = []
    examine = Examiner.examine

    def killed(self, task):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(task.piece)
        return examine(self, task)

    again = evaluation.model_copy(update={"traces": str(tmp_path / "b")})
    monkeypatch.setattr(Examiner, "examine", killed)
    with pytest.raises(KeyboardInterrupt):
        per_trace(again, console)
    again_done: list[object] = []

    def noted(self, task):
        again_done.append(task.piece)
        return examine(self, task)

    monkeypatch.setattr(Examiner, "examine", noted)
    assert per_trace(again, console).table.equals(whole)
    assert len(again_done) == 9 - 4 and not set(again_done) & set(done)
    again_done.clear()
    assert per_trace(again, console).table.equals(whole)
    assert again_done == []


@pytest.mark.slow
def test_two_workers_on_ray_give_the_table_of_one(planted, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "PIECE", 7)
    evaluation, console = load_evaluation(unsplit(planted())), Console(quiet=True)
    tables = []
    for workers in (1, 2):
        compute = evaluation.compute.model_copy(update={"workers": workers})
        update = {"traces": str(tmp_path / f"by {workers}"), "compute": compute}
        tables.append(per_trace(evaluation.model_copy(update=update), console).table)
    assert tables[0].equals(tables[1])


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_trace(planted, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "PIECE", 2)
    evaluation, console = load_evaluation(unsplit(planted())), Console(quiet=True)
    whole = per_trace(evaluation.model_copy(update={"traces": str(tmp_path / "a")}), console).table
    killed: list[int] = []
    monkeypatch.setattr(pieces, "examined", killing(killed))
    compute = evaluation.compute.model_copy(update={"workers": 2})
    update = {"traces": str(tmp_path / "b"), "compute": compute}
    traces = per_trace(evaluation.model_copy(update=update), console)
    assert killed and traces.unfinished == {}
    assert traces.table.equals(whole)


def test_the_example_of_the_help_is_an_evaluation(tmp_path):
    path = tmp_path / "evaluation.toml"
    path.write_text("\n".join(EVALUATION.strip().splitlines()[1:-2]))
    evaluation = load_evaluation(path)
    assert evaluation.benchmark[0].path == str(tmp_path / "ncedc_labelled.npz")
    assert evaluation.manifest[0].candidate == "original"


def test_label_errors_with_and_without(planted, tmp_path, capsys):
    (tmp_path / "errors.csv").write_text(
        "dataset,chunk,trace_name\nplanted,,t0\nplanted,,t1\nplanted,,no such\n"
    )
    path = unsplit(planted('label_errors = "errors.csv"'))
    _, facts = said(capsys, "oracle", path)
    name = "late", "all", "P", "recall_t0.30"
    assert scores(facts)[name]["n"] == 60
    assert scores(facts, "without_label_errors")[name]["n"] == 58
    assert "no such" in facts["scores"]["without_label_errors"]["about"]


def test_the_test_split_is_opened_on_record_only(planted, capsys):
    path = planted()
    code, refused = said(capsys, "oracle", path)
    assert code == 2 and "tidepick eval splits" in refused["error"]

    _, facts = said(capsys, "splits", path)
    counts = {row["split"]: row for row in facts["splits"]}
    assert sum(row["events"] for row in counts.values()) == 30
    assert sum(row["traces"] for row in counts.values()) == 60
    assert facts["openings"] == []

    _, closed = said(capsys, "oracle", path)
    open_traces = counts["development"]["traces"] + counts["tuning"]["traces"]
    assert closed["test_openings"] == 0
    assert scores(closed)["late", "all", "P", "recall_t0.30"]["n"] == open_traces
    assert said(capsys, "oracle", path, "--open-test", " ")[0] == 2

    _, opened = said(capsys, "oracle", path, "--open-test", "final figures")
    assert opened["test_openings"] == 1
    assert scores(opened)["late", "all", "P", "recall_t0.30"]["n"] == counts["test"]["traces"]
    _, facts = said(capsys, "splits", path)
    assert [(each["candidates"], each["why"]) for each in facts["openings"]] == [
        ("both, early, late", "final figures")
    ]


def test_the_page_says_which_split_its_numbers_are_of(planted, tmp_path, capsys):
    path = planted()
    for what in ("splits", "oracle"):
        said(capsys, what, path)
    said(capsys, "report", path)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "of development and tuning; the test split is sealed" in page
    assert "The test split has been opened 0 times." in page

    said(capsys, "oracle", path, "--open-test", "final figures")
    said(capsys, "report", path)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "of the <b>test split</b>" in page and "final figures" in page
    assert "The test split has been opened 1 time." in page
    looked = pq.read_table(tmp_path / "out" / "tables" / "looked.parquet")
    assert looked["split"].to_pylist() == ["test"]


def test_nothing_is_run_before_the_splits_are_there(planted, tmp_path, capsys):
    code, refused = said(capsys, "oracle", planted())
    assert code == 2 and "tidepick eval splits" in refused["error"]
    assert not (tmp_path / "out" / "traces").exists()


@pytest.mark.parametrize("rule", ["f1_optimal", "equal_emitted"])
def test_frozen_thresholds_are_of_these_weights_and_traces(rule, planted, tmp_path, capsys):
    path = planted(f'thresholds = "{rule}"')
    said(capsys, "splits", path)
    _, first = said(capsys, "oracle", path)
    assert set(first["threshold"]["thresholds"]) == set(first["threshold"]["weights"])

    text = path.read_text()
    path.write_text(text.replace('"builtin:synthetic_early"\n', '"builtin:synthetic"\n', 1))
    code, refused = said(capsys, "oracle", path)
    assert code == 2 and "weights of ['early'] are others" in refused["error"]

    path.write_text(text)
    (tmp_path / "out" / "thresholds.json").write_text('{"thresholds": {}}')
    code, refused = said(capsys, "oracle", path)
    assert code == 2 and "thresholds.json" in refused["error"]


def test_f1_optimal_thresholds_are_those_of_every_threshold_tried(planted, tmp_path, capsys):
    """By hand, on the tuning split's rows alone."""
    path = planted('thresholds = "f1_optimal"')
    said(capsys, "splits", path)
    _, facts = said(capsys, "oracle", path)
    traces = pq.read_table(tmp_path / "out" / "tables" / "traces.parquet").to_pandas()
    names = pq.read_table(tmp_path / "splits" / "tuning.parquet")["trace_name"].to_pylist()
    tuning = traces[traces["trace_name"].isin(names)]
    for candidate, phases in facts["threshold"]["thresholds"].items():
        for phase, threshold in phases.items():
            p = phase.lower()
            own = tuning[(tuning["weight"] == candidate) & (tuning[f"{p}_in_window"] >= 0)]
            score, off = own[f"{p}_prob"].to_numpy(), own[f"{p}_residual_s"].abs().to_numpy()

            def f1(t, score=score, off=off):
                emitted = score >= t
                return 2 * (emitted & (off <= 0.5)).sum() / (emitted.sum() + len(score))

            assert len(own) > 5
            assert f1(threshold) == max(f1(t) for t in score)
            assert scores(facts)[candidate, "all", phase, f"recall_t{threshold:g}"]["n"] > 0


def test_thresholds_of_equal_false_picks_need_picks(planted, tmp_path, capsys):
    """One false pick an hour: 9 hours of noise allow nine, too few to place a threshold by."""
    noise = '[noise]\ncatalog = "catalog"\nwindows = "noise.parquet"'
    path = planted('thresholds = "equal_false_picks"')
    path.write_text(f"{unsplit(path).read_text()}\n{noise}\n")
    names = [each.name for each in load_evaluation(path).candidate]
    out, shown = tmp_path / "out", {"target_per_hour": 1.0, "threshold": 0.4}
    windows = {name: ["X"] for name in ("network", "station", "location", "start")}
    keep(out, "noise_windows", pa.table(windows))
    for hours in (9.0, 10.0):
        rows = [
            {"candidate": name, "phase": phase, "hours": hours} | shown
            for name in names
            for phase in "PS"
        ]
        keep(out, "noise_thresholds", pa.Table.from_pylist(rows))
        code, facts = said(capsys, "oracle", path)
        if hours < 10:
            assert code == 2 and "9.0 station-hours" in facts["error"]
    assert code == 0 and facts["threshold"]["thresholds"][names[0]] == {"P": 0.4, "S": 0.4}

    keep(out, "noise_windows", pa.table(windows | {"station": ["Y"]}))
    code, facts = said(capsys, "oracle", path)
    assert code == 2 and "the noise windows are others" in facts["error"]


def test_thresholds_are_solved_on_tuning_once(planted, tmp_path, capsys):
    path = planted('thresholds = "equal_emitted"\nthreshold = 0.6')
    _, made = said(capsys, "splits", path)
    tuning = next(row["traces"] for row in made["splits"] if row["split"] == "tuning")
    _, first = said(capsys, "oracle", path)
    solved = first["threshold"]
    assert (solved["split"], solved["rows"]) == ("tuning", tuning)
    before = (tmp_path / "out" / "thresholds.json").read_bytes()
    _, opened = said(capsys, "oracle", path, "--open-test", "are they used?")
    assert opened["threshold"] == solved
    assert (tmp_path / "out" / "thresholds.json").read_bytes() == before
    path.write_text(path.read_text().replace("threshold = 0.6", "threshold = 0.5"))
    code, refused = said(capsys, "oracle", path)
    assert code == 2 and "thresholds.json" in refused["error"]


def test_a_planted_leak_is_found_and_left_out(planted, tmp_path, capsys):
    """`late` was trained on one trace of quake0: the other is leaked with it."""
    (tmp_path / "trained.csv").write_text("dataset,chunk,trace_name\nplanted,,t0\n")
    manifest = '[[manifest]]\ncandidate = "late"\npath = "trained.csv"\n'
    path = planted("", manifest)
    _, facts = said(capsys, "splits", path)
    leaks = {row["candidate"]: row for row in facts["leakage"]}
    assert (leaks["late"]["leaked"], leaks["late"]["clean"]) == (1, 29)
    assert (leaks["early"]["clean"], leaks["early"]["unverifiable"]) == (0, 30)
    _, scored = said(capsys, "oracle", unsplit(path))
    clean = scores(scored, "clean")
    assert {name for name, *_ in clean} == {"late"}
    assert clean["late", "all", "P", "recall_t0.30"]["n"] == 58


def test_a_table_made_elsewhere_is_judged_as_it_is(data, tmp_path, capsys):
    """Of two models that were not given the same traces a comparison is refused."""
    golden = data / "golden" / "benchmark" / "per_trace_SYNTHETIC.parquet"
    few = pq.read_table(golden)
    few = pa.concat_tables(
        few.filter(pc.equal(few["weight"], name)).slice(0, 500) for name in ("jma_wc", "geofon")
    )
    pq.write_table(few, tmp_path / "golden.parquet")
    path = tmp_path / "evaluation.toml"
    path.write_text(
        'name = "golden"\nout = "out"\nbaseline = "jma_wc"\n'
        '[[benchmark]]\nname = "golden"\nkind = "table"\npath = "golden.parquet"\n'
    )
    code, facts = said(capsys, "oracle", path)
    assert code == 0
    assert {name for name, *_ in scores(facts)} == {"jma_wc", "geofon"}
    pq.write_table(few.slice(3), tmp_path / "golden.parquet")
    said(capsys, "oracle", path)
    code, refused = said(capsys, "compare", path)
    assert code == 2 and "not judged on the same" in refused["error"]


@pytest.mark.parametrize(
    ("more", "end", "complaint"),
    [
        ('thresholds = "f1_of_my_dreams"', "", "thresholds"),
        ("", '[[manifest]]\ncandidate = "nobody"\npath = "x.csv"\n', "manifest"),
        ('label_errors = "missing.csv"', "", "missing.csv"),
        ('thresholds = "equal_false_picks"', "", "[noise]"),
        ("", 'strata = ["regmie"]\n', "no column 'regmie' to stratify by"),
    ],
)
def test_what_is_wrong_is_named(planted, capsys, more, end, complaint):
    path = unsplit(planted(more, end))
    if end.startswith("strata"):
        path.write_text(path.read_text().replace('strata = ["regime"]\n', ""))
    code, facts = said(capsys, "oracle", path)
    assert code == 2 and complaint in facts["error"]


def test_muenchmeyers_tasks_need_noise_and_a_development_split(tmp_path, capsys, planted_npz):
    with np.load(planted_npz) as arrays:
        held = dict(arrays)
    noise = np.random.default_rng(9).normal(0, 1, (20, 6000, 3)).astype(np.float32)
    held["data"] = np.concatenate([held["data"], noise])
    for name, more in (("itp", -1), ("its", -1), ("distance_km", np.nan)):
        held[name] = np.append(held[name], np.full(20, more))
    for name in ("name", "event_id", "station", "regime"):
        held[name] = np.append(held[name], [f"XX.N{k}" for k in range(20)])
    held["trace_category"] = ["event"] * 60 + ["noise"] * 20
    np.savez(tmp_path / "planted.npz", **held)
    path = tmp_path / "evaluation.toml"
    path.write_text(BUILTIN.format(more="muenchmeyer = true"))
    _, facts = said(capsys, "oracle", unsplit(path))
    assert "task 1 (detection) of planted" in facts["muenchmeyer"]["undefined"][0]
    assert scores(facts)["late", "all", "P", "recall_t0.30"]["n"] == 60  # noise is in no recall

    held["split"] = np.array([["dev", "test"][k // 2 % 2] for k in range(80)])
    np.savez(tmp_path / "planted.npz", **held)
    _, facts = said(capsys, "oracle", path)
    assert facts["muenchmeyer"]["undefined"] == []
    figures = {
        row["metric"]: row["value"]
        for row in facts["muenchmeyer"]["rows"]
        if row["candidate"] == "late" and row["phase"] in (None, "P")
    }
    assert figures["mcc_detection"] > 0.8 and figures["mcc_phase_id_10s"] > 0.8
    assert figures["mae_10s"] < 0.3

    path.write_text(BUILTIN.format(more="muenchmeyer = true"))  # now with splits of its own
    said(capsys, "splits", path)
    _, facts = said(capsys, "oracle", path)
    sealed = {row["metric"]: row["n"] for row in facts["muenchmeyer"]["rows"] if row["value"]}
    assert 0 < sealed["mcc_detection"] < 40  # the sealed events are not among the 30 of test


def test_an_opening_names_the_candidates_of_a_table_made_elsewhere(tmp_path, capsys):
    rows = [
        {"weight": weight, "trace_name": f"t{k}", "event_id": f"quake{k}"}
        | {"p_in_window": 1000, "p_prob": 0.5, "p_residual_s": 0.0}
        | {"s_in_window": -1, "s_prob": None, "s_residual_s": None}
        for weight in ("one", "two")
        for k in range(40)
    ]
    schema = {"s_prob": pa.float64(), "s_residual_s": pa.float64()}
    table = pa.Table.from_pylist(rows)
    for name, kind in schema.items():
        at = table.column_names.index(name)
        table = table.set_column(at, name, table[name].cast(kind))
    pq.write_table(table, tmp_path / "rows.parquet")
    path = tmp_path / "evaluation.toml"
    path.write_text(
        'name = "rows"\nout = "out"\nbaseline = "one"\nsplits = "splits"\n'
        '[[benchmark]]\nname = "rows"\nkind = "table"\npath = "rows.parquet"\n'
    )
    assert said(capsys, "splits", path)[0] == 0
    code, facts = said(capsys, "oracle", path, "--open-test", "final figures")
    assert code == 0 and facts["split"] == "test"
    _, facts = said(capsys, "splits", path)
    assert [each["candidates"] for each in facts["openings"]] == ["one, two"]


def test_what_could_not_be_run_is_listed_with_its_reason(tmp_path, capsys, planted_npz):
    with np.load(planted_npz) as arrays:
        held = dict(arrays)
    held["data"][3] = np.nan
    held["data"][4] = 0
    held["itp"][5], held["its"][5] = 99_999, -1
    np.savez(tmp_path / "planted.npz", **held)
    path = tmp_path / "evaluation.toml"
    path.write_text(BUILTIN.format(more=""))
    _, facts = said(capsys, "oracle", unsplit(path))
    found = {row["outcome"]: row for row in facts["not_run"]}
    assert {name: row["traces"] for name, row in found.items()} == {"bad_format": 2, "dead": 1}
    assert found["bad_format"]["example"] == "t3"
    assert found["bad_format"]["why"] == "none of its 6000 samples is a number"
    assert scores(facts)["late", "all", "P", "recall_t0.30"]["n"] == 57
