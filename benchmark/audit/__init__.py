"""Is what is committed true: validate, verify, rebuild, repeat."""
