"""The platforms: they turn native events into Message and Card into native output, nothing else."""
