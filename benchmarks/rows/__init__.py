"""One module a row: each offers `prepare`, see `benchmarks.harness.Prepare`."""
