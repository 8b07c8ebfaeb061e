"""Fine-tune on a stronger model's outputs, and find out what that changed."""
