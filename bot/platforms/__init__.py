"""The platforms: native events to Message, Card to native output, and nothing else."""
