"""An object that cannot be looked into is in no plan; the run says so, and is not complete."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from catalog.query import Catalog
from catalog.schema import TraceId, day_start_ns
from service.cli import main
from workers.synthetic import station_day, write_sds

CAMPAIGN = """\
name = "with a stranger"
catalog = "catalog"
[archive]
kind = "files"
root = "archive"
[select]
stations = ["XX.*"]
start = 2024-03-01
end = 2024-03-02
[[candidate]]
name = "synthetic"
weights = "builtin:synthetic"
"""


@pytest.mark.parametrize(
    ("name", "shown"), [(b"refused.mseed", "refused.mseed"), (b"\xff\xfe.ms", r"\xff\xfe.ms")]
)
def test_what_could_not_be_looked_into_is_told(
    name: bytes, shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = day_start_ns(date(2024, 3, 1)) + 6 * 3600 * 10**9
    one = station_day(TraceId("XX", "ONE", "", "HH"), start, 60.0, 200.0, np.random.default_rng(1))
    write_sds(tmp_path / "archive", [one])
    stranger = tmp_path / "archive" / os.fsdecode(name)
    stranger.write_text("<html>Access denied</html>")
    path, url = tmp_path / "campaign.toml", str(tmp_path / "catalog")
    path.write_text(CAMPAIGN)
    for done in (1, 0):  # and when nothing is left to do
        assert main(["run", str(path), "--json"]) == 1
        out, err = capsys.readouterr()
        facts = json.loads(out)
        assert (facts["state"], facts["done_now"], facts["left"]) == ("incomplete", done, 0)
        assert facts["unlooked"] == 1 and f"such as {shown}: " in err
    (row,) = Catalog(url).sql("SELECT unlooked, unlooked_objects FROM runs").to_pylist()
    assert row["unlooked"] == 1 and [*json.loads(row["unlooked_objects"])] == [shown]
    main(["status", url])
    assert f"1 objects told nothing, such as {shown}" in capsys.readouterr().out
    stranger.unlink()
    assert main(["run", str(path)]) == 0
