"""Models by name: catalog, download, conversion and checks of their files."""
