"""The reference that people are shown is the one that the rule judges by."""

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.query import Catalog
from service.web.contenders import Contender
from service.web.pool import Pool
from tests.service.web.conftest import THRESHOLDS


def test_arrivals_of_another_location_code_are_shown_in_the_data(picked):
    catalog = Catalog(str(picked / "catalog"))
    contenders = {name: Contender(name, name, solved) for name, solved in THRESHOLDS.items()}
    read = pq.read_table(picked / "truth.parquet")
    at = read.column_names.index("location")
    other = read.set_column(at, "location", pa.array(["00"] * read.num_rows))
    pool, moved = (Pool.of(catalog, contenders, table, 0) for table in (read, other))
    assert sum(len(pool.arrivals_near(window)) for window in pool.windows.values()) > 10
    assert moved.windows == pool.windows and moved.arrivals == pool.arrivals
