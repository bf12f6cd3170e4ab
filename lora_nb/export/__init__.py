"""What leaves this package: fused models, proven to be what was trained, and adapters."""
