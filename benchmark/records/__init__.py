"""What was measured: records, their files, their schema, what must agree in them."""
