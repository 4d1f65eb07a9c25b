"""A stand-in for the bot behind the web page: it serves the page and speaks its protocol, with scripted answers."""

from tests.servers.page.serving import Page, serve_page

__all__ = ["Page", "serve_page"]
