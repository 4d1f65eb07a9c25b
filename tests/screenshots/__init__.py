"""`python -m tests.screenshots`: the pictures in docs/images, of the real bot with smollm2-135m; needs Chromium."""
