"""The store: the only package that imports SQLite and psycopg."""
