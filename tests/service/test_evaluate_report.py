"""`tidepick eval report`: what lacks is made, what is there is not, a changed file is noticed."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import service.evaluate.tables as tables
from catalog.errors import Refusal
from service.cli import main
from service.evaluate.config import load_evaluation
from service.evaluate.report import asked_for
from service.evaluate.sources import fingerprint
from service.evaluate.tables import keep, kept

EVALUATION = """
name = "made elsewhere"
out = "out"
baseline = "one"
threshold = {threshold}
[[benchmark]]
name = "traces"
kind = "table"
path = "traces.parquet"
"""


def table(out, name):
    found = kept(out, name)
    assert found is not None, name
    return found


def write(folder, threshold=0.3):
    path = folder / "evaluation.toml"
    path.write_text(EVALUATION.format(threshold=threshold))
    return path


def write_traces(folder, seed=0):
    rng, n = np.random.default_rng(seed), 120
    parts = []
    for name in ("one", "two"):
        columns = {
            "weight": [name] * n,
            "trace_name": [f"t{k}" for k in range(n)],
            "dataset": ["d"] * n,
            "event_id": [f"e{k // 4}" for k in range(n)],
            "station": [f"XX.S{k % 10}" for k in range(n)],
            "distance_km": rng.uniform(5, 900, n),
        }
        for phase in "ps":
            columns |= {
                f"{phase}_in_window": np.full(n, 500),
                f"{phase}_prob": rng.uniform(0, 1, n),
                f"{phase}_residual_s": rng.normal(0, 0.1, n),
            }
        parts.append(pa.table(columns))
    pq.write_table(pa.concat_tables(parts), folder / "traces.parquet")


def test_one_command_makes_what_lacks_and_a_page(tmp_path, capsys):
    write_traces(tmp_path)
    path, out = write(tmp_path), tmp_path / "out"
    assert main(["eval", "report", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == str(out / "report.html")
    page = (out / "report.html").read_text()
    assert "made elsewhere" in page and "two" in page
    for name in ("oracle", "comparison", "residual_bins", "provenance"):
        assert table(out, name).num_rows, name
        assert (out / "tables" / f"{name}.csv").exists()
    about = {(r["about"], r["name"]): r["value"] for r in table(out, "provenance").to_pylist()}
    assert about["benchmark traces", "data"] == fingerprint(str(tmp_path / "traces.parquet"))

    made = (out / "tables" / "oracle.parquet").stat().st_mtime_ns
    assert main(["eval", "report", str(path)]) == 0
    assert (out / "tables" / "oracle.parquet").stat().st_mtime_ns == made
    write(tmp_path, 0.5)
    assert main(["eval", "report", str(path)]) == 0
    assert "recall_1.0s_t0.50" in table(out, "oracle")["metric"].to_pylist()
    write_traces(tmp_path, 1)  # the same name, other data
    made = (out / "tables" / "oracle.parquet").stat().st_mtime_ns
    assert main(["eval", "report", str(path)]) == 0
    assert (out / "tables" / "oracle.parquet").stat().st_mtime_ns > made


@pytest.mark.parametrize(
    ("name", "other"), [("SEMANTICS", -1), ("version", lambda package: f"another {package}")]
)
def test_tables_whose_numbers_may_mean_something_else_are_made_anew(
    tmp_path, monkeypatch, name, other
):
    write_traces(tmp_path)
    path, out = write(tmp_path), tmp_path / "out"

    def made() -> list[int]:
        assert main(["eval", "report", str(path)]) == 0
        names = ("oracle", "comparison")
        return [(out / "tables" / f"{each}.parquet").stat().st_mtime_ns for each in names]

    first = made()
    assert made() == first
    monkeypatch.setattr(tables, name, other)
    second = made()
    assert all(new > old for new, old in zip(second, first, strict=True))
    assert made() == second
    monkeypatch.undo()
    assert main(["eval", "oracle", str(path)]) == 0, "one by hand: the others rest on the old"
    assert all(new > old for new, old in zip(made(), second, strict=True))


def test_what_is_refused_is_missing_and_the_rest_stands(tmp_path, capsys):
    """Candidates on different traces are not compared; each has its scores all the same."""
    write_traces(tmp_path)
    traces = pq.read_table(tmp_path / "traces.parquet")
    pq.write_table(traces.slice(0, traces.num_rows - 3), tmp_path / "traces.parquet")
    assert main(["eval", "report", str(write(tmp_path))]) == 1
    assert "were not judged on the same P rows" in " ".join(capsys.readouterr().out.split())
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The table <code>comparison</code> is missing" in page
    assert "not compared" in page and "Labelled traces, all bins" in page


def test_nothing_to_judge_is_refused(tmp_path):
    path = tmp_path / "evaluation.toml"
    path.write_text(
        'name = "x"\nout = "out"\n[[candidate]]\nname = "a"\nweights = "builtin:synthetic"\n'
    )
    with pytest.raises(Refusal, match="nothing to judge"):
        asked_for(load_evaluation(path))


def test_lists_stay_out_of_the_csv(tmp_path):
    keep(tmp_path, "both", pa.table({"a": [1], "curve": [[0.5, 0.7]]}))
    assert (tmp_path / "tables" / "both.csv").read_text() == '"a"\n1\n'
    assert table(tmp_path, "both")["curve"].to_pylist() == [[0.5, 0.7]]
