"""Regression of attack success against a committed baseline."""
