"""A worker's memory is bounded by what it picks at once, whatever the size of an object."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from catalog.schema import DAY_NS, day_start_ns
from tests.workers.records import miniseed
from workers.miniseed.records import ChannelId

DAY = date(2022, 2, 4)
LIMIT_MB = 1100

WORKER = """
import sys
from datetime import date, timedelta
from pathlib import Path
from catalog.schema import Shard, TraceId
from workers.archives import ArchiveConfig, open_archive
from workers.engines import open_engine, use_threads
from workers.pipeline import pick_shard
from workers.candidate import Candidate
from workers.weights import resolve

use_threads(1)
trace, day = TraceId("XX", "S0", "", "HH"), date(2022, 2, 4)
candidate = Candidate.of(
    "c", [resolve("builtin:synthetic")], open_engine("fast"), {"P": 0.1, "S": 0.1}
)
archive = open_archive(ArchiveConfig(kind="files", root=sys.argv[1]))
shard = Shard((trace,), day, day + timedelta(days=1))
(done,) = pick_shard(archive, shard, [candidate])
whole = done.picked["c"]
status = Path("/proc/self/status").read_text()
peak = int(status.split("VmHWM:")[1].split()[0]) // 1024
print(whole.outcome, round(whole.seconds), whole.segments, whole.n_components, peak)
"""


def write_station_day(path: Path, channels: list[ChannelId], rate: int, length: int) -> None:
    """A day of uncompressed noise of every channel, record after record in order of time."""
    count = (length - 64) // 4
    nothing, start = np.zeros(count, np.int32), day_start_ns(DAY)
    records = [miniseed(nothing, start, codes, rate, "INT32", length) for codes in channels]
    templates = np.stack([np.frombuffer(record, np.uint8) for record in records])
    assert templates.shape[1] == length
    rng = np.random.default_rng(0)
    noise = rng.integers(-5000, 5000, (4096, count)).astype(">i4").view(np.uint8)
    ticks = DAY_NS // 100_000
    step = count * 10_000 // rate
    block = max(1, 2**25 // templates.size)
    with path.open("wb") as file:
        for first in range(0, ticks // step, block):
            rows = np.arange(first, min(first + block, ticks // step))
            written = np.repeat(templates[None], len(rows), axis=0)
            tick = rows * step
            clock = np.zeros((len(rows), 6), np.uint8)
            for column, unit in enumerate((36_000_000, 600_000, 10_000)):
                clock[:, column] = tick // unit
                tick = tick % unit
            clock[:, 4:] = tick.astype(">u2").view(np.uint8).reshape(-1, 2)
            written[:, :, 24:30] = clock[:, None]
            which = (rows[:, None] + 997 * np.arange(len(channels))) % len(noise)
            written[:, :, 64:] = noise[which]
            written.tofile(file)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read the peak from")
@pytest.mark.parametrize(
    ("stations", "rate", "length"), [(17, 100, 512), (1, 2000, 4096)], ids=["many", "fast"]
)
def test_two_gigabytes_of_station_day(
    tmp_path: Path, stations: int, rate: int, length: int
) -> None:
    """Seventeen stations in one object, four million records; or one station at 2000 Hz."""
    channels = [
        ChannelId("XX", f"S{k}", "", "HH" + component)
        for k in range(stations)
        for component in "ZNE"
    ]
    write_station_day(tmp_path / "day.mseed", channels, rate, length)
    assert (tmp_path / "day.mseed").stat().st_size > 1.9e9
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcome, seconds, segments, components, peak = done.stdout.split()
    assert (outcome, segments, components) == ("picked", "1", "3")
    assert 86_390 <= int(seconds) <= 86_400
    assert int(peak) < LIMIT_MB
