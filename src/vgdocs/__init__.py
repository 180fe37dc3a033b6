"""The vanishing gradient problem, measured: figures that measure, pages that cite, claims that fail."""
