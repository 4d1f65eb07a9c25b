"""Names and addresses of this machine."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Say whether `host`, a name or an address, is this machine only."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def name_of(host: str) -> str:
    """Return the name in a Host header, without the port."""
    if host.startswith("["):
        return host.partition("]")[0]
    return host.rpartition(":")[0] or host
