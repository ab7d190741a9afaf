"""`tidepick arena`: ratings of what people said, battles by rule, exports."""
