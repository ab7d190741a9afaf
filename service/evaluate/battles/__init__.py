"""Battles: decided by rule over traces and days, beside what people said of them."""
