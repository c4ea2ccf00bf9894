"""Data models with known moments, and real data sets."""
