"""What tests share: runs put together in this process, commands run in another, data, helpers."""
