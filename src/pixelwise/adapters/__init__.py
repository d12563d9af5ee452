"""pixelwise as what people know already."""
