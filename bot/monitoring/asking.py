"""Asking a running bot from another process whether all is well; blocks."""

import http.client
import json
from typing import Final

# The bot takes at most 5 s for its checks.
_ASK_S: Final = 15.0


def ask_health(host: str, port: int, *, timeout_s: float = _ASK_S) -> tuple[str, ...]:
    """Return one sentence for each fault of the bot that is watched at `host` and `port`."""
    # An address for all networks is reached at this machine's own.
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host.strip("[]"), host.strip("[]"))
    connection = http.client.HTTPConnection(name, port, timeout=timeout_s)
    try:
        connection.request("GET", "/health")
        said = json.loads(connection.getresponse().read())
        return tuple(str(one) for one in said["faults"])
    except TimeoutError:
        return (f"The bot at {host}, port {port}, has not answered for {timeout_s:g} s: it hangs.",)
    except ConnectionRefusedError:
        return (f"No bot runs at {host}, port {port}: start it, or check METRICS_PORT.",)
    except OSError as e:
        return (f"The bot at {host}, port {port}, can't be reached: {(e.strerror or str(e)).lower()}.",)
    except (http.client.HTTPException, ValueError, KeyError, TypeError):
        return (f"What answers at {host}, port {port}, is not this bot; check METRICS_PORT.",)
    finally:
        connection.close()
