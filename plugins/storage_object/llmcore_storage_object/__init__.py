"""llmcore plugin: files in S3, Google Cloud Storage, Azure Blob Storage, or in memory."""
