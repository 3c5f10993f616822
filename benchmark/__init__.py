"""Everything that trains and measures: body, tasks, training, harness, records, tables."""
