"""Sweeps: what their trials have reached, live and afterwards."""
