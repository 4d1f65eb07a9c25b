"""From a model's name to a loaded model: catalog, download, conversion, loading."""
