"""What measures speed: the clock tells stages apart, and `make bench` runs and writes its keys."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.bench.stages import Clock, Hook

ROOT = Path(__file__).resolve().parent.parent


class Hands:
    """A clock that moves when it is told to."""

    time = 0.0


def spin(seconds: float) -> None:
    Hands.time += seconds


class Picker:
    @classmethod
    def of(cls) -> "Picker":
        spin(0.02)
        return cls()

    def pick(self) -> list[int]:
        spin(0.01)
        return [k for k in self.windows() if self.forward()]

    def windows(self):
        for k in range(2):
            spin(0.02)
            yield k

    def forward(self) -> bool:
        spin(0.03)
        return True


def test_a_call_inside_another_counts_for_its_own_stage_alone():
    clock, picker = Clock(lambda: Hands.time), Picker()
    hooks = [
        Hook(Picker, "of", "assemble"),
        Hook(picker, "pick", "rest"),
        Hook(Picker, "windows", "windows"),
        Hook(Picker, "forward", "forward"),
    ]
    before = dict(vars(Picker))
    with clock.hooked(hooks):
        assert isinstance(Picker.of(), Picker)
        assert picker.pick() == [0, 1]
    expected = {"assemble": 0.02, "rest": 0.01, "windows": 0.04, "forward": 0.06}
    assert clock.seconds == pytest.approx(expected)
    assert dict(vars(Picker)) == before
    assert vars(picker) == {}


def test_hooks_are_taken_off_after_a_failure():
    before = Picker.forward
    hooks = [Hook(Picker, "forward", "forward"), Hook(Picker, "nothing", "rest")]
    with pytest.raises(AttributeError, match="nothing"), Clock().hooked(hooks):
        raise AssertionError("hooked what does not exist")
    assert Picker.forward is before


@pytest.mark.slow
def test_bench_measures_all_that_it_promises(tmp_path):
    out = tmp_path / "bench.json"
    subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.bench", "--quick", "--out", out],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
    )
    results = json.loads(out.read_text())
    for part in (results, results["wide"]):
        for engine in ("exact", "fast"):
            assert part[engine]["cpu_s"] > 0
            assert part[engine]["vs_seisbench_default"] >= part[engine]["vs_seisbench_best"] > 0
    assert results["contenders"]["exact"]["picks"] == results["contenders"]["fast"]["picks"] > 0
    # one stretch that begins where a window does: all pick the same
    wide = results["wide"]["contenders"]
    assert {wide[name]["picks"] for name in wide if "RAPID" not in name} == {wide["exact"]["picks"]}
    assert wide["exact"]["picks"] > 0
    for stages in results["stages"].values():
        assert stages["rest"] > -0.01, "nothing is counted twice"
        assert all(stages[stage] > 0 for stage in ("read + decode", "assemble", "forward", "stack"))
    assert results["non_forward_cpu_s"] > 0
    assert set(results["resample_cpu_s"]) == {"40", "125", "200"}
    assert results["rss_gb"] >= results["rss_one_day_gb"] > results["rss_imports_gb"] > 0
    assert results["start_to_first_shard_s"] > 0
    assert {"two_workers", "two_candidates", "two_candidates_saved_s", "ensemble_of_two"} < set(
        results
    )
