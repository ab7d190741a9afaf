"""GeoNet, Aotearoa New Zealand, an AWS open data set. One object a channel-day.

Keys such as `2017/2017.101/WEL.NZ/2017.101.WEL.10-HHZ.NZ.D`.
"""

from __future__ import annotations

from workers.archives.layout import Home, Layout

GEONET = Layout(
    "{year}/{year}.{doy}/{sta}.{net}/{year}.{doy}.{sta}.{loc}-{cha}.{net}.D",
    Home("s3://geonet-open-data/waveforms/miniseed", "ap-southeast-2"),
)
