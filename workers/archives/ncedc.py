"""Northern California Earthquake Data Center, an AWS open data set. One object a channel-day.

Keys such as `BK/2017/2017.101/CMB.BK.BHE.00.D.2017.101`. https://ncedc.org/db/cloud
"""

from __future__ import annotations

from workers.archives.layout import Home, Layout

NCEDC = Layout(
    "{net}/{year}/{year}.{doy}/{sta}.{net}.{cha}.{loc}.D.{year}.{doy}",
    Home("s3://ncedc-pds/continuous_waveforms", "us-east-2"),
)
