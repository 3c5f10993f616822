"""Many cells: the run command's, sweeps, processes, machines."""
