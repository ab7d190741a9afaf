"""Labelled traces: run, split, judged and compared where candidates are told where to look."""
