"""The published data sets that can be prepared, by the name of their command."""

from __future__ import annotations

from pixelwise.data.prepare import camvid, context, nyudv2, sbd, siftflow, voc

MODULES = (voc, sbd, context, nyudv2, siftflow, camvid)
RECORDS = {module.RECORD.name: module.RECORD for module in MODULES}
"""Each has a page in docs/datasets/."""
