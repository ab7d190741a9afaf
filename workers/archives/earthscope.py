"""EarthScope (IRIS), an AWS open data set, and its restricted twin behind an access point.

Keys such as `UW/2022/037/SHW.UW.2022.037`: one object a station-day, with all its channels. Behind
the access point a version follows, `#3`; the highest of a station-day counts, so listing must be
allowed. `root` is then `s3://ACCESS-POINT-ALIAS/miniseed`, `profile` the AWS profile that has the
credentials, and the region us-east-2.
"""

from __future__ import annotations

from workers.archives.layout import Home, Layout

EARTHSCOPE = Layout(
    "{net}/{year}/{doy}/{sta}.{net}.{year}.{doy}",
    Home("s3://earthscope-geophysical-data/miniseed", "us-east-2"),
)
