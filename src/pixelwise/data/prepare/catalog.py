"""The published data sets that can be prepared, by the name of their command."""

from __future__ import annotations

from pixelwise.data.prepare import camvid, context, sbd, voc

RECORDS = {module.RECORD.name: module.RECORD for module in (voc, sbd, context, camvid)}
"""Each has a page in docs/datasets/."""
