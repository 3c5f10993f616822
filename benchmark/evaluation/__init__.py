"""One cell: a victim under an attack behind a defence, measured."""
