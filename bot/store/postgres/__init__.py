"""The store's database on a PostgreSQL server; the only package that imports psycopg."""
