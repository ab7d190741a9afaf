"""What the numbers of an evaluation mean, as one version of it."""

SEMANTICS = 3
"""Raised with any change of the code after which a table of an evaluation would hold other numbers
from the same picks, settings and truth. `tidepick eval report` makes tables of another anew."""
