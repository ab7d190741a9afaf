"""Waveforms with planted truth: noise, events, disturbances; for demo, training and tests.

Not a wave propagation code: P and S are pulses with coda over coloured noise, plausible in
amplitude, frequency, duration and energy partition only. Everything is drawn from the generator
that is passed in, so one seed gives one archive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pymseed import DataEncoding, MS3TraceList
from scipy.signal import butter, sosfilt, sosfiltfilt

from catalog.schema import COMPONENTS, DAY_NS, TraceId, day_of, day_start_ns
from catalog.truth import ARRIVAL_SCHEMA, NOISE_SCHEMA

RATE = 100
"""Hz, of everything made here."""

STEP_NS = 1_000_000_000 // RATE

SNR_FLOOR = 5.0
"""Every planted arrival peaks at least this far above the rms of the 3 s before it (noise, older
codas, for S the P coda), 1-20 Hz, on its best component. What would be weaker is not planted, so
every unmatched pick is an error of the picker."""

CLEAR = 5.0
"""Seconds between an arrival and the nearest disturbance, gap or end of data."""

Rows = NDArray[np.float64]

P_CODA = np.array([1.0, 0.6, 0.6])
S_CODA = np.array([0.5, 1.0, 1.0])
"""Coda amplitude on Z, N, E."""

P_SPEED = 6.0
S_SPEED = P_SPEED / 1.73
"""km/s, for moveout over a network."""


@dataclass(frozen=True, slots=True)
class Event:
    """What one station is about to receive.

    p, s: onsets in seconds after the start of the recording. amplitude: peak of P over the rms of
    the station's noise, 1-20 Hz. frequency: Hz, dominant in P.
    """

    name: str
    p: float
    s: float
    amplitude: float
    frequency: float


@dataclass(frozen=True, slots=True)
class Recording:
    """One trace and the truth about it.

    data: int32 [3, n] counts at RATE, rows in the order of COMPONENTS, zero inside `gaps`, which
    are index ranges [low, high) where nothing was recorded. arrivals: ARRIVAL_SCHEMA, by time.
    """

    trace: TraceId
    start_ns: int
    data: NDArray[np.int32]
    arrivals: pa.Table
    gaps: tuple[tuple[int, int], ...] = ()


def station_day(
    trace: TraceId,
    start_ns: int,
    seconds: float,
    events_per_hour: float,
    rng: np.random.Generator,
    disturbances_per_hour: float = 4.0,
) -> Recording:
    """One station by itself, with about `events_per_hour` events (fewer where they would mix)."""
    events = []
    for index, p in enumerate(_times(seconds, events_per_hour, rng)):
        s_minus_p = float(np.exp(rng.uniform(np.log(0.5), np.log(20.0))))
        amplitude = SNR_FLOOR * 10 ** rng.exponential(0.5)
        frequency = _log_uniform(rng, 3.0, 12.0) * (s_minus_p / 2) ** -0.15
        events.append(Event(f"{trace}-{index}", p, p + s_minus_p, amplitude, frequency))
    return _record(trace, start_ns, seconds, events, (), disturbances_per_hour, rng)


def network_days(
    traces: Sequence[TraceId],
    start_ns: int,
    seconds: float,
    events_per_hour: float,
    rng: np.random.Generator,
    gaps: Mapping[TraceId, Sequence[tuple[float, float]]] | None = None,
    disturbances_per_hour: float = 4.0,
) -> list[Recording]:
    """Stations within 40 km that record the same events, with moveout and decay by distance.

    gaps: trace -> spans [from, to) in seconds after the start. An event that would arrive in or
    near a gap, or below SNR_FLOOR, is missing from that station's data and truth alike.
    """
    stations = rng.uniform(-20, 20, (len(traces), 2))
    incoming: list[list[Event]] = [[] for _ in traces]
    for index, origin in enumerate(_times(seconds, events_per_hour, rng)):
        hypocentre = np.array([*rng.uniform(-35, 35, 2), rng.uniform(4, 14)])
        size = 10 ** rng.exponential(0.5)
        frequency = _log_uniform(rng, 3.0, 12.0)
        for station, events in zip(stations, incoming, strict=True):
            distance = float(np.linalg.norm(hypocentre - [*station, 0.0]))
            p, s = origin + distance / P_SPEED, origin + distance / S_SPEED
            amplitude = SNR_FLOOR * size * (distance / 60) ** -1.5
            events.append(Event(f"event-{index}", p, s, amplitude, frequency))
    return [
        _record(
            trace,
            start_ns,
            seconds,
            sorted(events, key=lambda event: event.p),
            [(round(a * RATE), round(b * RATE)) for a, b in (gaps or {}).get(trace, ())],
            disturbances_per_hour,
            child,
        )
        for trace, events, child in zip(traces, incoming, rng.spawn(len(traces)), strict=True)
    ]


def noise(n: int, rng: np.random.Generator) -> Rows:
    """Coloured noise [3, n]: a power law, a microseism, sometimes a hum; its level drifts."""
    frequency = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 0.05)
    shape = frequency ** -rng.uniform(0.0, 1.2)
    microseism, width = rng.uniform(0.12, 0.4), rng.uniform(0.2, 0.5)
    bump = np.exp(-((np.log(frequency / microseism) / width) ** 2) / 2)
    shape = shape + rng.uniform(0, 6) * microseism**-0.5 * bump
    shape /= np.sqrt(np.mean(shape[(frequency > 1) & (frequency < 20)] ** 2))
    white = np.fft.rfft(rng.normal(size=(3, n)))
    rows = np.fft.irfft(white * shape, n)
    if rng.random() < 0.3:
        phase = 2 * np.pi * (rng.uniform(4, 30) * np.arange(n) / RATE + rng.random((3, 1)))
        rows += rng.uniform(0.2, 1.0) * np.sin(phase)
    knots = np.linspace(0, n, max(n // (300 * RATE), 1) + 2)
    drift = np.interp(np.arange(n), knots, rng.normal(0, 0.25, len(knots)))
    return np.asarray(rows * np.exp(drift) * rng.uniform(0.7, 1.4, (3, 1)))


def _record(
    trace: TraceId,
    start_ns: int,
    seconds: float,
    events: Iterable[Event],
    gaps: Sequence[tuple[int, int]],
    disturbances_per_hour: float,
    rng: np.random.Generator,
) -> Recording:
    n = round(seconds * RATE)
    rows = noise(n, rng)
    band = sosfiltfilt(butter(3, (1, 20), "bandpass", fs=RATE, output="sos"), rows)
    level = float(np.sqrt(np.mean(band**2)))
    breaks = np.array([0, n, *(edge for gap in gaps for edge in gap)]) / RATE
    planted: list[tuple[Event, str, float]] = []
    for event in events:
        free = not planted or event.p > planted[-1][2] + 2 * CLEAR
        whole = all(
            np.searchsorted(np.sort(breaks), time + pad) % 2 == 1
            for time in (event.p, event.s)
            for pad in (-CLEAR, CLEAR)
        )
        if free and whole and _plant(event, level, rows, band, rng):
            planted += [(event, "P", event.p), (event, "S", event.s)]
    times = np.array([time for _, _, time in planted] or [-np.inf])
    for time in _times(seconds, disturbances_per_hour, rng):
        if np.abs(times - time).min() > CLEAR:
            _disturb(rows, round(time * RATE), level, rng)
    data = np.rint(rows * _log_uniform(rng, 20.0, 2000.0) / level).astype(np.int32)
    for low, high in gaps:
        data[:, low:high] = 0
    return Recording(trace, start_ns, data, _arrivals(trace, start_ns, planted), tuple(gaps))


def _plant(event: Event, level: float, rows: Rows, band: Rows, rng: np.random.Generator) -> bool:
    """Add P and S to `rows` and `band`, unless one of them would stay below SNR_FLOOR."""
    tilt, azimuth, turn = rng.uniform(0.1, 0.7), rng.uniform(0, 2 * np.pi), rng.uniform(0, np.pi)
    north, east = np.cos(azimuth), np.sin(azimuth)
    along = np.array([np.cos(tilt), np.sin(tilt) * north, np.sin(tilt) * east])
    vertical = np.array([np.sin(tilt), -np.cos(tilt) * north, -np.cos(tilt) * east])
    across = np.cos(turn) * vertical + np.sin(turn) * np.array([0, -east, north])
    polarity = rng.choice((-1.0, 1.0), 2)
    duration = 0.4 + 0.4 * (event.s - event.p)
    peak = event.amplitude * level
    slower = event.frequency * rng.uniform(0.5, 0.8)
    phases = (
        (event.p, peak, event.frequency, duration, polarity[0] * along, P_CODA),
        (event.s, peak * rng.uniform(1.5, 4), slower, 1.5 * duration, polarity[1] * across, S_CODA),
    )
    trial: list[tuple[int, Rows]] = []
    for time, height, frequency, decay, direction, partition in phases:
        first = int(np.ceil(time * RATE))
        late = first - time * RATE
        n = min(round(6 * decay * RATE), rows.shape[1] - first)
        wave = height * _wavelet(n, late, frequency, decay, direction, partition, rng)
        before = slice(first - 3 * RATE, first)
        background = band[:, before].copy()
        for at, older in trial:
            tail = older[:, max(before.start - at, 0) : before.stop - at]
            background[:, background.shape[1] - tail.shape[1] :] += tail
        snr = np.abs(wave).max(axis=1) / np.sqrt(np.mean(background**2, axis=1))
        if snr.max() < SNR_FLOOR:
            return False
        trial.append((first, wave))
    for first, wave in trial:
        for target in (rows, band):
            target[:, first : first + wave.shape[1]] += wave
    return True


def _wavelet(
    n: int,
    late: float,
    frequency: float,
    decay: float,
    direction: Rows,
    partition: Rows,
    rng: np.random.Generator,
) -> Rows:
    """[3, n] of peak 1: a pulse along `direction`, then coda; sample 0 is `late` samples in."""
    t = (np.arange(n) + late) / RATE
    pulse = np.sin(2 * np.pi * frequency * t) * np.exp(-frequency * t / 1.5)
    around = butter(2, (frequency / 2, min(frequency * 1.6, 24)), "bandpass", fs=RATE, output="sos")
    coda = sosfilt(around, rng.normal(size=(3, n + RATE)))[:, RATE:]
    coda *= partition[:, None] / coda.std()
    coda *= rng.uniform(0.15, 0.35) * (1 - np.exp(-frequency * t)) * np.exp(-t / decay)
    wave = direction[:, None] * pulse + coda
    return np.asarray(wave / np.abs(wave).max())


def _disturb(rows: Rows, at: int, level: float, rng: np.random.Generator) -> None:
    """Add one thing that is no arrival, from sample `at`."""
    n = min(rows.shape[1] - at, 30 * RATE)
    t = np.arange(n) / RATE
    height = level * _log_uniform(rng, 5.0, 60.0) * rng.choice((-1, 1))
    row = rng.integers(3)
    here = slice(at, at + n)
    kind = rng.choice(("spike", "step", "glitch", "calibration", "traffic"))
    if kind == "spike":
        rows[row, at : at + rng.integers(1, 4)] += height
    elif kind == "step":
        rows[row, at:] += height
    elif kind == "glitch":  # the response of a seismometer to a step: it comes back slowly
        rows[row, here] += height * np.exp(-t / rng.uniform(0.3, 5.0))
    elif kind == "calibration":  # the same square pulse on every component
        rows[:, at : at + rng.integers(1, 10) * RATE // 2] += height
    else:  # emergent on every component
        length = rng.uniform(4.0, 15.0)
        envelope = np.sin(np.pi * np.minimum(t / length, 1.0)) ** 2
        rows[:, here] += min(abs(height), 15 * level) / 3 * envelope * rng.normal(size=(3, n))


def _arrivals(
    trace: TraceId, start_ns: int, planted: Sequence[tuple[Event, str, float]]
) -> pa.Table:
    rows = [
        {
            "network": trace.network,
            "station": trace.station,
            "location": trace.location,
            "phase": phase,
            "time": start_ns + round(time * 1e9),
            "event": event.name,
        }
        for event, phase, time in planted
    ]
    return pa.Table.from_pylist(rows, schema=ARRIVAL_SCHEMA)


def _times(seconds: float, per_hour: float, rng: np.random.Generator) -> list[float]:
    return sorted(rng.uniform(0, seconds, rng.poisson(per_hour * seconds / 3600)).tolist())


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def sds_path(root: Path, trace: TraceId, component: str, start_ns: int) -> Path:
    """The SDS file of the channel-day that holds a time."""
    day = day_of(start_ns)
    channel = f"{trace.band}{component}"
    return (
        root
        / str(day.year)
        / trace.network
        / trace.station
        / f"{channel}.D"
        / f"{trace.network}.{trace.station}.{trace.location}.{channel}.D.{day:%Y.%j}"
    )


def write_sds(root: Path, recordings: Iterable[Recording]) -> None:
    """miniSEED 2, Steim2, 512-byte records, in SDS layout: one file a channel-day, replaced."""
    files: dict[Path, MS3TraceList] = {}
    for recording in recordings:
        edges = [0, *(edge for gap in recording.gaps for edge in gap), recording.data.shape[1]]
        for low, high in zip(edges[::2], edges[1::2], strict=True):
            while low < high:
                time = recording.start_ns + low * STEP_NS
                midnight = day_start_ns(day_of(time)) + DAY_NS
                stop = min(high, low - (time - midnight) // STEP_NS)
                for component, row in zip(COMPONENTS, recording.data, strict=True):
                    path = sds_path(root, recording.trace, component, time)
                    files.setdefault(path, MS3TraceList()).add_data(
                        _source_id(recording.trace, component),
                        np.ascontiguousarray(row[low:stop]),
                        "i",
                        float(RATE),
                        starttime=time,
                    )
                low = stop
    for path, traces in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        traces.to_file(
            path,
            overwrite=True,
            max_record_length=512,
            encoding=DataEncoding.STEIM2,
            format_version=2,
        )


def _source_id(trace: TraceId, component: str) -> str:
    place = f"{trace.network}_{trace.station}_{trace.location}"
    return f"FDSN:{place}_{'_'.join(trace.band)}_{component}"


DEMO_GAP = (4800.0, 5520.0)
"""Seconds after the start, of XX.ONE."""


def demo_archive(root: Path, seed: int = 0) -> pa.Table:
    """Three stations of network XX, 2024-03-01 00:00 to 04:00 UTC, as SDS; returns the truth.

    Faults: XX.ONE has a gap from 01:20 to 01:32; HHE of XX.TWO is dead; the file of HHN of
    XX.THREE ends inside a record, near 03:00 (its other components go on, and so does the truth).
    """
    one, two, three = (TraceId("XX", station, "", "HH") for station in ("ONE", "TWO", "THREE"))
    start = day_start_ns(date(2024, 3, 1))
    rng = np.random.default_rng(seed)
    recordings = network_days(
        (one, two, three), start, 4 * 3600.0, 30.0, rng, gaps={one: [DEMO_GAP]}
    )
    recordings[1].data[COMPONENTS.index("E")] = 7
    write_sds(root, recordings)
    cut = sds_path(root, three, "N", start)
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 512 * 3 // 4 * 512 + 200])
    return pa.concat_tables(recording.arrivals for recording in recordings)


def quiet_windows(truth: pa.Table, before_s: float = 10.0, after_s: float = 60.0) -> pa.Table:
    """Noise of the demo's archive (NOISE_SCHEMA): between what was planted on a station, from
    `after_s` behind one arrival to `before_s` ahead of the next. What holds the gap is left out."""
    first, last = (day_start_ns(date(2024, 3, 1)) + int(end * 1e9) for end in DEMO_GAP)
    rows = []
    stations = sorted(set(truth["station"].to_pylist()))
    for station in stations:
        own = truth.filter(pc.field("station") == station)
        times = np.sort(own["time"].cast(pa.int64()).to_numpy())
        starts, ends = times[:-1] + int(after_s * 1e9), times[1:] - int(before_s * 1e9)
        rows += [
            {
                "network": own["network"][0].as_py(),
                "station": station,
                "location": own["location"][0].as_py(),
                "band": "HH",
                "start": int(start),
                "end": int(end),
            }
            for start, end in zip(starts, ends, strict=True)
            if end > start and not (station == "ONE" and start < last and end > first)
        ]
    return pa.Table.from_pylist(rows, NOISE_SCHEMA)
