"""Numbers about numbers, numpy alone: intervals, success rates, paired comparisons."""
