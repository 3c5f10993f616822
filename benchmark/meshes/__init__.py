"""Mesh and point-cloud files of anybody: reading, writing, units and axes, surfaces."""
