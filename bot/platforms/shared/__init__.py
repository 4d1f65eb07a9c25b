"""What every chat platform needs: answering, streaming, refusals, unfinished work, masked logs."""
