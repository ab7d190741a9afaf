"""Verified noise: where it is, false picks in it, thresholds of equal false picks per hour."""
