"""Tells whether a training set has been poisoned, before anyone trains on it."""
