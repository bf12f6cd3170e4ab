"""Runs: their folders, events, locks, requests, and the processes behind them."""
