"""The engine `dask` of llmcore."""
