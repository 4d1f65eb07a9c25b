"""What a running bot tells those who watch it: figures for Prometheus, and whether all is well."""
