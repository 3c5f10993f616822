"""Transfer and attack on anybody's mesh files."""
