"""Scripts, one per published result: each prints its figures beside the paper's and writes a report."""
