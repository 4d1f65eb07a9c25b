"""Long runs that show what short tests can't: nothing lost and nothing doubled under load and faults."""
