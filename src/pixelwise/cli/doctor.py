"""``pixelwise doctor``."""

from __future__ import annotations

from pixelwise.cli.console import emit_json, table
from pixelwise.cli.options import Json


def doctor(
    json: Json = False,
) -> None:
    """Show the environment, the devices, and what each missing extra would add."""
    from pixelwise.workflows.doctor import examine

    facts = examine()
    if json:
        emit_json(facts)
        return
    table("environment", ("what", "value"), [(k, v) for k, v in facts["environment"].items()])
    table("devices", ("device", "what"), [(d["name"], d["about"]) for d in facts["devices"]])
    extras = [(e["name"], e["version"] or "missing", e["enables"]) for e in facts["extras"]]
    table("packages", ("package", "version", "for"), extras)
