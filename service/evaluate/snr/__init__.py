"""Whether a benchmark can tell candidates apart: signal and noise of its figures."""
