"""Can a number be trusted: the checks behind the flags."""
