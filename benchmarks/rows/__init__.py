"""One module for each row, with a function `prepare`; see `benchmarks.harness.Prepare`."""
