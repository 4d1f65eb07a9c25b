"""The web page: a platform that this program hosts itself, for the browsers of this machine."""
