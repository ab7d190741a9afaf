"""Whether a benchmark's differences between candidates stand above its noise."""
