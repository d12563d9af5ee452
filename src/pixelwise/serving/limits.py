"""What one service takes on, and what one request may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a service; all are checked before memory is taken."""

    body: int = 16 << 20
    """Bytes of a request's body: a JPEG of 16 megapixels is about a third of it."""
    queue: int = 8
    """Requests that wait for a worker; one more is refused (503)."""
    per_client: int = 8
    """Requests of one address that wait or are computed; one more is refused (429)."""
    batch: int = 4
    """Waiting requests for one model that a worker takes at once."""
    connections: int = 128
    """Requests that are open at once, those being uploaded included."""
    uploads: int = 64 << 20
    """Bytes of bodies that are being uploaded, of all requests together."""
    reading: float = 10.0
    """Seconds for a request's headers, and as many for its body."""
    computing: float = 60.0
    """Seconds for one request in a worker; then it is ended and started again."""
    writing: float = 30.0
    """Seconds in which a client takes its answer."""
    keep_alive: int = 5
    """Seconds for which an idle connection is held."""
    grace: int = 30
    """Seconds that requests have to end when the service is stopped."""
    crashes: int = 5
    """Ends of workers in a minute, after which the service gives up."""
