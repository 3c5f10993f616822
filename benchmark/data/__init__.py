"""Pairs of pose and identity with exact truth: body, tasks, scans, corruptions, licensed sets."""
