"""Southern California Earthquake Data Center, an AWS open data set. One object a channel-day.

Keys such as `2017/2017_101/CIRIO__BHE___2017101.ms`. https://scedc.caltech.edu/data/cloud.html
"""

from __future__ import annotations

from workers.archives.layout import Home, Layout

SCEDC = Layout(
    "{year}/{year}_{doy}/{net:_<2}{sta:_<5}{cha:_<3}{loc:_<3}{year}{doy}.ms",
    Home("s3://scedc-pds/continuous_waveforms", "us-west-2"),
)
