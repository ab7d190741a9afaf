"""How many extras belong to an event that several stations saw: a proxy for being real.

It is no precision. A picker that errs at many stations at once is supported too, and an event that
one station saw is not. PyOcto (Muenchmeyer 2024) does the association, with one velocity for each
phase; without it, or without places for the stations, the share is undefined.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog.schema import PHASES
from eval.intervals import Clusters, Kind, ratios
from eval.traces import codes

P_SPEED, S_SPEED = 6.0, 3.5
"""km/s, of the crust."""

TOLERANCE_S = 2.0
FEWEST_STATIONS = 4
DEEPEST_KM = 100.0

SUPPORT_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("phase", pa.string()),
        ("metric", pa.string()),  # `extras_associated`
        ("value", pa.float64()),  # null: undefined, see `detail`
        ("low", pa.float64()),  # over stations
        ("high", pa.float64()),
        ("n", pa.int64()),  # extras
        ("clusters", pa.int64()),
        ("detail", pa.string()),
    ]
)


def support(
    picks: pa.Table,
    extra: NDArray[np.bool_],
    sites: pa.Table | None,
    names: Sequence[str],
    *,
    seed: int,
    replicates: int,
) -> pa.Table:
    """Share of extras in an event, by candidate and phase: SUPPORT_SCHEMA.

    picks: of all candidates, at the threshold judged. extra: bool [rows], those that no arrival
    explains. sites: SITE_SCHEMA.
    """
    why = _why_not(picks, sites)
    rows = []
    for candidate in names:
        own = pc.equal(picks["candidate"], candidate).to_numpy()
        mine = picks.filter(pa.array(own))
        joined = np.zeros(mine.num_rows, bool)
        if not why and sites is not None:
            joined = _associated(mine, sites)
        for phase in PHASES:
            these = extra[own] & pc.equal(mine["phase"], phase).to_numpy()
            inside = mine.filter(pa.array(these))
            station = pc.binary_join_element_wise(inside["network"], inside["station"], ".")
            [share] = ratios(
                joined[these].astype(np.float64)[:, None],
                np.ones((int(these.sum()), 1)),
                [Kind.PROPORTION],
                Clusters(None, codes(station)),
                seed=seed,
                replicates=replicates,
            )
            undefined = {"value": None, "low": None, "high": None} if why else {}
            rows.append(
                {"candidate": candidate, "phase": phase, "metric": "extras_associated"}
                | share.columns
                | undefined
                | {"detail": why}
            )
    return pa.Table.from_pylist(rows, SUPPORT_SCHEMA)


def _why_not(picks: pa.Table, sites: pa.Table | None) -> str:
    if sites is None:
        return "continuous.stations is not given"
    if importlib.util.find_spec("pyocto") is None:
        return "pyocto is not installed: pip install pyocto"
    names = [pc.binary_join_element_wise(t["network"], t["station"], ".") for t in (picks, sites)]
    placed = len(set(names[0].to_pylist()) & set(names[1].to_pylist()))
    if placed < FEWEST_STATIONS:
        return f"{placed} stations with picks have places; {FEWEST_STATIONS} are needed"
    return ""


def _associated(picks: pa.Table, sites: pa.Table) -> NDArray[np.bool_]:
    """bool [rows]: the pick belongs to an event."""
    import pyocto

    names = pc.binary_join_element_wise(sites["network"], sites["station"], ".").to_pylist()
    stations = pa.table(
        {
            "id": names,
            "latitude": sites["latitude"].to_numpy(),
            "longitude": sites["longitude"].to_numpy(),
            "elevation": sites["elevation_m"].to_numpy(),
        }
    ).to_pandas()
    at = pc.binary_join_element_wise(picks["network"], picks["station"], ".").to_pylist()
    times = picks["time"].cast(pa.int64()).to_numpy() + picks["offset_ns"].to_numpy()
    known = np.isin(at, names)
    columns = {"station": at, "phase": picks["phase"].cast(pa.string()), "time": times / 1e9}
    frame = pa.table(columns).filter(pa.array(known)).to_pandas()
    joined = np.zeros(picks.num_rows, bool)
    if not len(frame):
        return joined
    margin = 0.5  # degrees beyond the stations
    latitudes, longitudes = stations["latitude"], stations["longitude"]
    model = pyocto.VelocityModel0D(P_SPEED, S_SPEED, TOLERANCE_S)
    octo = pyocto.OctoAssociator.from_area(
        lat=(latitudes.min() - margin, latitudes.max() + margin),
        lon=(longitudes.min() - margin, longitudes.max() + margin),
        zlim=(0.0, DEEPEST_KM),
        time_before=300.0,
        velocity_model=model,
        n_picks=6,
        n_p_picks=FEWEST_STATIONS,
        n_s_picks=0,
        n_p_and_s_picks=0,
        n_threads=1,
    )
    octo.transform_stations(stations)
    _, assigned = octo.associate(frame, stations)
    joined[np.flatnonzero(known)[np.unique(assigned["pick_idx"].to_numpy(int))]] = True
    return joined
