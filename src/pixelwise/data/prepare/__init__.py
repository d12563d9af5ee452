"""Published data sets, from the files of their authors to the canonical layout."""
