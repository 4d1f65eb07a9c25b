"""One forward pass: what every network takes and gives, and the networks that there are."""
