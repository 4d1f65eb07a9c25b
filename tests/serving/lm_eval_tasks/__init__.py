"""Three small tasks for lm-evaluation-harness, with texts written for them."""
