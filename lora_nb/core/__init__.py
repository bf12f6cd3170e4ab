"""MLX: models, adapters, loss, the training loop, evaluation, generation. Only for workers."""
