"""The runs of before: listed, compared, noted on, deleted."""
