"""llmcore plugin: stores files in S3, Google Cloud Storage, Azure Blob Storage, or memory."""
