"""The networks that compute a forward pass: their common interface and its implementations."""
