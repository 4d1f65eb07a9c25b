"""A stand-in for Slack on the loopback interface, Web API and Socket Mode, for the real slack_bolt and slack_sdk.

One setting points every client of a program at it: an `AsyncWebClient(base_url=slack.api_url)`. The URL ends in
/api/; slack_sdk adds a missing last slash by itself, but `urljoin` drops a path that lacks it where a client is given
its `base_url` later. Hand that client to both halves of Bolt:

* `AsyncApp(client=client)`: listeners get clients with the same base_url, timeout and retry handlers;
* `AsyncSocketModeHandler(app, app_token, web_client=…)`: without `web_client` it takes `app.client`, so one setting is
  enough; a `SocketModeClient` made by hand without one would ask slack.com for its sockets. The app-level token goes
  out as `Authorization` for apps.connections.open, and only for that.

The address of the socket, of uploads and of answers to interactions (response_url) come from the stand-in itself.
"""

from tests.servers.slack.people import Person
from tests.servers.slack.reading import labels, visible_text
from tests.servers.slack.server import Slack, serve_slack

__all__ = ["Person", "Slack", "labels", "serve_slack", "visible_text"]
