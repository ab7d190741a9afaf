"""Continuous days: picks of a catalogue against what analysts read there."""
