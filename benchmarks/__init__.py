"""The speed of the engine beside its peers: one run, interleaved, with the machine's limits measured in it."""
