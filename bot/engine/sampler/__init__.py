"""Which token comes next in each row of logits."""
